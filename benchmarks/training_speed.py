"""Training speed in events a second: length buckets, fixed padding, and the peer, on the same file in the same run.

    python benchmarks/training_speed.py --peer ../peer-venv/bin/python

Each pair runs in turn (A B A B) and medians are compared; the machine must be otherwise idle. The peer runs in its
own environment (see peers.md) on the same file, same threads, at the best of its settings tried.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from habitus.backbones import GRU, Transformer
from habitus.data.batch import Batch, SequenceTensors
from habitus.data.encode import EncodedSequences
from habitus.data.loader import BatchSampler, padding_waste
from habitus.tasks import Backbone, Classify, Inputs, SequenceNetwork
from habitus.training import Training
from habitus.training.optim import build_optimizer

FIXED_LENGTH = 512
BACKBONES: dict[str, Backbone] = {"gru": GRU(), "transformer": Transformer()}


def read_rows(path: Path) -> tuple[EncodedSequences, dict[str, int]]:
    """Return the rows of a file of lists (item_id, category_id, gap_days, target) and the sizes of its ids."""
    frame = pl.read_parquet(path)
    lengths = frame["item_id"].list.len().to_numpy().astype(np.int64)
    gap = frame["gap_days"].explode().to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    after = np.cumsum(gap, dtype=np.float64)
    age = np.repeat(after[offsets[1:] - 1], lengths) - after
    ids = {name: frame[name].explode().to_numpy().astype(np.int32) + 2 for name in ("item_id", "category_id")}
    nothing = np.zeros(len(gap), np.int8)
    rows = EncodedSequences(
        offsets=offsets,
        ids=ids,
        numbers={},
        age_days=age.astype(np.float32),
        gap_days=gap.astype(np.float32),
        hour=nothing,
        weekday=nothing,
        profile_ids={},
        profile_numbers={},
        n_events=lengths,
        example=np.arange(len(lengths)),
        target=frame["target"].to_numpy().astype(np.int64),
    )
    return rows, {name: int(values.max()) + 1 for name, values in ids.items()}


class FixedPadding(SequenceTensors):
    """The same rows with every batch padded to one length, as most libraries do."""

    def gather(self, rows: np.ndarray | Tensor) -> Batch:
        """Return the batch padded to FIXED_LENGTH."""
        batch = super().gather(rows)
        missing = FIXED_LENGTH - batch.is_step.shape[1]
        if missing <= 0:
            return batch
        steps = ("age_days", "gap_days", "hour", "weekday", "is_step")
        padded = {name: F.pad(getattr(batch, name), (0, missing)) for name in steps}
        return replace(batch, ids={k: F.pad(v, (0, missing)) for k, v in batch.ids.items()}, has_padding=True, **padded)


def events_per_second(
    backbone: Backbone, rows: EncodedSequences, sizes: dict[str, int], seconds: float, padding: str
) -> float:
    """Train for some seconds and return real events a second; loading of batches included."""
    torch.manual_seed(0)
    task, training = Classify("target"), Training()
    task.fit_target(pl.DataFrame({"target": rows.labels}))
    network = SequenceNetwork(Inputs(sizes, {}, {}, {}), backbone, task, use_time=True, wide=False, value_dropout=0.5)
    optimizer = build_optimizer(network, training)
    tensors = (SequenceTensors if padding == "buckets" else FixedPadding)(rows)
    if padding == "buckets":
        batches = BatchSampler(rows.lengths, training.batch_tokens, training.batch_rows).epoch_batches(0)
    else:
        order = np.random.default_rng(0).permutation(len(rows))
        batches = [order[i : i + training.batch_rows] for i in range(0, len(order), training.batch_rows)]
    n_events, began, number = 0, 0.0, 0
    while True:
        if number == 3:  # the first steps warm up
            n_events, began = 0, time.perf_counter()
        batch = tensors.gather(batches[number % len(batches)])
        assert batch.target is not None
        loss = task.loss(network(batch), batch.target).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        n_events, number = n_events + int(batch.lengths.sum()), number + 1
        if number > 5 and time.perf_counter() - began > seconds:
            return n_events / (time.perf_counter() - began)


def peer_events_per_second(
    python: str, path: Path, model: str, seconds: float, batch_size: int, dropout: float
) -> float:
    """Return the peer's events a second at one setting."""
    script = Path(__file__).with_name("peer_lifestream.py")
    command = [python, str(script), "run", str(path), "--model", model, "--seconds", str(seconds)]
    command += ["--batch-size", str(batch_size), "--dropout", str(dropout)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["events_per_s"])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="rows as peer_lifestream.py makes them; made if left out")
    parser.add_argument("--peer", help="python of the peer's environment; without it only padding is compared")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-batch-sizes", default="32,64,128")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.file is None:
        given.file = Path(tempfile.mkdtemp()) / "rows.parquet"
        script = Path(__file__).with_name("peer_lifestream.py")
        subprocess.run([sys.executable, str(script), "make", str(given.file)], check=True)
    rows, sizes = read_rows(given.file)
    batches = BatchSampler(rows.lengths, Training().batch_tokens, Training().batch_rows).epoch_batches(0)
    print(
        f"{datetime.now(UTC).date()}, {platform.processor() or platform.machine()}, {given.threads} threads, ", end=""
    )
    print(
        f"{len(rows):,} rows, mean length {rows.lengths.mean():.0f}, padding {padding_waste(rows.lengths, batches):.1%}"
    )
    print("\n| model | ours, buckets | other | other's events/s | ratio, median of rounds |\n|---|---|---|---|---|")
    for name, backbone in BACKBONES.items():
        rivals = {
            "same loop, fixed padding": lambda b=backbone: events_per_second(b, rows, sizes, given.seconds, "fixed")
        }
        for size in given.peer_batch_sizes.split(",") if given.peer else []:
            for dropout in (0.1, 0.0) if name == "transformer" else (0.1,):
                label = f"pytorch-lifestream 0.7, batch {size}, dropout {dropout}"
                rivals[label] = lambda s=size, d=dropout, n=name: peer_events_per_second(
                    given.peer, given.file, n, given.seconds, int(s), d
                )
        for label, rival in rivals.items():
            pairs = [
                (events_per_second(backbone, rows, sizes, given.seconds, "buckets"), rival())
                for _ in range(given.rounds)
            ]
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"| {name} | {ours:,.0f} | {label} | {theirs:,.0f} | {ratio:.1f}x |", flush=True)


if __name__ == "__main__":
    main()
