"""Histories of thousands of events: what they cost in memory and time, and when they pay.

    python benchmarks/long_history.py            both tables
    python benchmarks/long_history.py cost       memory and time: attention to all, within a window, recurrent
    python benchmarks/long_history.py quality    answers that lie in the latest events against answers that do not

Cost: `SequenceModel(Classify)` trains for one epoch on simulated histories, each case in a process of its own. Memory
is the process's peak (ru_maxrss) less what it was after the imports, in MiB: weights, rows, one batch forward and
backward, and validation. A case that would take more than `--most-gib` is stopped there and said so. Time is processor
time of the training batches alone, so that other work on the machine hardly shows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import habitus as hb
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.model import Options
from habitus.training import loop  # noqa: F401  (a run imports it: before the baseline, not after)

START_US = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1e6)
HOUR_US = int(timedelta(hours=1).total_seconds() * 1e6)
LENGTHS = (1_000, 3_000, 10_000)
RECENT = 200  # events among which the answer of "recent" lies
LONG, WINDOW = 10_000, 256
WIDE = {"hidden_size": 64, "n_layers": 2}
BODIES = {
    "Transformer, attends to all before": hb.Transformer(**WIDE),
    "Transformer, window=256": hb.Transformer(**WIDE, window=WINDOW),
    "Transformer both ways, attends to all": hb.Transformer(**WIDE, causal=False),
    "Transformer both ways, window=256": hb.Transformer(**WIDE, window=WINDOW, causal=False),
    "GRU": hb.GRU(**WIDE),
    "LSTM": hb.LSTM(**WIDE),
}


def simulate(n: int, length: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a log of n people with `length` events each, and their labels.

    recent: 20 alarms lie among the latest 200 events; older bursts of alarms mean nothing.
    often: 800 to 1,200 visits (of 10,000 events), against 200 to 600; none lies among the latest tenth.
    """
    rng = np.random.default_rng(seed)
    items = rng.integers(0, 30, (n, length)).astype(np.int64)
    recent, often = np.arange(n) % 2 == 0, rng.permutation(n) % 2 == 0
    visit, alarm = 30, 31
    for row in range(n):
        share = rng.uniform(0.02, 0.06) + 0.06 * often[row]
        items[row, rng.permutation(length - length // 10)[: int(share * length)]] = visit
        begins = [
            *rng.integers(0, length - 2 * RECENT, rng.integers(0, 4)),
            *([length - RECENT] if recent[row] else []),
        ]
        for begin in begins:
            items[row, begin + rng.permutation(RECENT)[:20]] = alarm
    time_us = START_US + np.cumsum(rng.exponential(HOUR_US, (n, length)), axis=1).astype(np.int64)
    user = pl.Series("user_id", [f"user {number}" for number in range(n)])
    moment = pl.Datetime("us", "UTC")
    log = pl.DataFrame(
        {
            "user_id": user.gather(np.repeat(np.arange(n), length)),
            "timestamp": pl.Series(time_us.ravel()).cast(moment),
            "item": pl.Series(items.ravel()).cast(pl.String),
        }
    )
    labels = {"recent": recent.astype(int), "often": often.astype(int)}
    return log, pl.DataFrame({"user_id": user, "cutoff": pl.Series(time_us[:, -1] + 1).cast(moment), **labels})


def model_of(target: str, body: object, **options: object) -> hb.SequenceModel:
    """Return a model without the linear path over counts, which would answer "often" by itself."""
    given = {"epochs": 1, "learning_rate": 5e-3, "average": 0.9, "tracker": None, "device": "cpu", "threads": 1}
    return hb.SequenceModel(
        hb.Classify(target),
        body,
        data=Data(max_length=int(options.pop("max_length", LONG)), fields={"item": "category"}),
        split=Split(validation=float(options.pop("validation", 0.2)), test=float(options.pop("test", 0.0))),
        training=hb.Training(**(given | options)),
        options=Options(wide=False, value_dropout=0.0, baselines=()),
    )


def peak_mib() -> float:
    """Return the most memory that this process has had, in MiB (Linux counts in KiB, macOS in bytes)."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


class Clock:
    """Note the processor time of every batch."""

    def on_start(self, facts: Mapping[str, Any]) -> None:
        self.n_rows, self.ticks = facts["n_train"], [time.process_time()]

    def on_batch(self, facts: Mapping[str, Any]) -> None:
        self.ticks.append(time.process_time())

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        pass

    def on_end(self) -> None:
        pass


def cell(name: str, length: int, n_events: int, most_gib: float) -> str:
    """Train one case in this process; return its cost in words."""
    before = peak_mib()
    if sys.platform == "linux":  # of address space, so that the machine is spared
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + int(most_gib * 2**30),) * 2)
    n = max(3, round(1.25 * n_events / length))
    log, labels = simulate(n, length)
    clock, model = Clock(), model_of("often", BODIES[name], validation=1 / n if n < 6 else 0.2)
    try:
        model.fit(log, labels.select("user_id", "cutoff", "often"), callbacks=[clock])
    except (RuntimeError, MemoryError) as error:
        if "memory" not in str(error).lower():
            raise
        return f"stopped at {most_gib:g} GiB"
    per_event = (clock.ticks[-1] - clock.ticks[0]) / (clock.n_rows * length)
    return f"{per_event * 1e5:.1f} s, {peak_mib() - before:.0f} MiB"


def cost(given: argparse.Namespace) -> None:
    """Print memory and time of every case."""
    print(f"\nTraining, d 64, 2 layers, batches of 8,192 events or one row; about {given.events:,} events a case; each")
    print("field: processor seconds for 100,000 events, and MiB of memory above the imports.\n")
    print("| backbone | " + " | ".join(f"{length:,} events a row" for length in LENGTHS) + " |")
    print("|---|" + "---|" * len(LENGTHS), flush=True)
    fresh = multiprocessing.get_context("fork")  # a process a case, with the imports done
    for name in BODIES:
        print(f"| {name} ", end="", flush=True)
        for length in LENGTHS:
            with fresh.Pool(1) as pool:
                print(f"| {pool.apply(cell, (name, length, given.events, given.most_gib))} ", end="", flush=True)
        print("|", flush=True)


def quality(given: argparse.Namespace) -> None:
    """Print the AUC of short and long readers where the answer is recent and where it is a count of all."""
    small, longest = {"hidden_size": 16, "n_layers": 1, "n_heads": 2}, given.length
    readers = {
        "the latest 256 events": (hb.Transformer(**small), WINDOW),
        f"{longest:,} events, window=256, pooling='count'": (hb.Transformer(**small, window=WINDOW), longest),
        f"{longest:,} events, LSTM, pooling='last'": (hb.LSTM(hidden_size=16, pooling="last"), longest),
    }
    print(
        f"\nAUC on the test part [95 %]; d 16, 1 layer, {given.people} people, {given.epochs} epochs, 2 rows a batch.\n"
    )
    print("| reads | answer in the latest 200 events | seconds | answer is a count over all | seconds |")
    print("|---|---|---|---|---|")
    log, labels = simulate(given.people, longest)
    for name, (body, n_read) in readers.items():
        fields = []
        for target in ("recent", "often"):
            began = time.monotonic()
            options = {"epochs": given.epochs, "max_length": n_read, "batch_tokens": 2 * n_read, "test": 0.3}
            model = model_of(target, body, **options).fit(log, labels.select("user_id", "cutoff", target))
            auc = model.evaluation_.metrics["auc"]
            fields += [f"{auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}]", f"{time.monotonic() - began:.0f}"]
        print(f"| {name} | " + " | ".join(fields) + " |", flush=True)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "cost", "quality"), default="all")
    parser.add_argument("--events", type=int, default=12_000, help="that a case of the first table trains on")
    parser.add_argument("--most-gib", type=float, default=4.0, help="where a case is stopped")
    parser.add_argument("--length", type=int, default=LONG, help="events a person of the second table")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{datetime.now(UTC).date()}, {platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}"
    )
    if given.what in ("all", "cost"):
        cost(given)
    if given.what in ("all", "quality"):
        quality(given)


if __name__ == "__main__":
    main()
