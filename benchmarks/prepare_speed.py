"""From a raw log to one row an example: Habitus against what an analyst writes in pandas.

    python benchmarks/prepare_speed.py --events 10_000_000 --users 500_000
    python benchmarks/prepare_speed.py --events 100_000_000 --users 5_000_000 --no-pandas

Both sides read the same two Parquet files (a log in time order, one cutoff a user), keep each user's latest 512
events before the cutoff, and write list columns to disk. Each runs in its own process, start and imports within
the clock, peak memory as the kernel saw it. A side that takes more memory than it may is stopped and reported so.
The rows of a sample of users are then compared value by value; a difference fails the benchmark.

`--polars` adds a third side: the same few steps in Polars, all in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

MAX_LENGTH = 512
COLUMNS = ("timestamp", "item_id", "amount")
START_US = 1_735_689_600_000_000  # 2025-01-01 UTC
SPAN_US = 365 * 24 * 3600 * 1_000_000
EVENTS_PER_TICK = 32  # equal timestamps: a clock so coarse that about this many events share each of its ticks
CHUNK = 1_000_000
POLL_S = 0.05


# --- the data -------------------------------------------------------------------------------------------------------


def make_log(path: Path, n_events: int, n_users: int, seed: int) -> None:
    """Write a log in time order, a million rows at a time; lengths are log-normal, and a tenth of events tie."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    share = np.cumsum(rng.lognormal(0.0, 1.0, n_users))
    share /= share[-1]
    tick = max(1_000_000, SPAN_US * EVENTS_PER_TICK // n_events)
    stamp = pa.timestamp("us", tz="UTC")
    types = [("user_id", pa.int64()), ("timestamp", stamp), ("item_id", pa.int64()), ("amount", pa.float64())]
    with pq.ParquetWriter(path, pa.schema(types), compression="zstd") as writer:
        for first in range(0, n_events, CHUNK):
            rows = np.arange(first, min(first + CHUNK, n_events))
            user = np.searchsorted(share, rng.random(len(rows)))
            user = _with_repeats(user, rng)
            when = START_US + (rows * (SPAN_US / n_events)).astype(np.int64) // tick * tick
            item = rng.zipf(1.3, len(rows)) % 50_000 + 1
            amount = np.round(rng.lognormal(3.0, 1.0, len(rows)), 2)
            columns = [pa.array(user + 1), pa.array(when).cast(stamp), pa.array(item), pa.array(amount)]
            writer.write_table(pa.table(columns, schema=writer.schema))


def _with_repeats(user: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give a tenth of the rows the user of a row up to eight places back: often within the same tick, so a tie."""
    import numpy as np

    back = np.where(rng.random(len(user)) < 0.1, rng.integers(1, 9, len(user)), 0)
    return user[np.maximum(np.arange(len(user)) - back, 0)]


def make_examples(path: Path, n_users: int, seed: int) -> None:
    """Write one cutoff a user, in the last half of the log's time, users in random order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed + 1)
    cutoff = START_US + SPAN_US // 2 + rng.integers(0, SPAN_US // 2, n_users)
    columns = {"user_id": rng.permutation(n_users) + 1, "cutoff": pa.array(cutoff).cast(pa.timestamp("us", tz="UTC"))}
    pq.write_table(pa.table(columns), path)


# --- the sides: (log, examples, output) -> files on disk ------------------------------------------------------------


def prepare_with_habitus(events_path: Path, examples_path: Path, out: Path) -> None:
    from habitus.data.events import read_events
    from habitus.data.examples import read_examples
    from habitus.data.sequence import write_sequences

    events = read_events(events_path)
    examples, _ = read_examples(examples_path, events)
    write_sequences(events, examples, out, max_length=MAX_LENGTH)


def prepare_with_pandas(events_path: Path, examples_path: Path, out: Path) -> None:
    import pandas as pd

    examples = pd.read_parquet(examples_path)
    events = pd.read_parquet(events_path).merge(examples, on="user_id")
    events = events[events["timestamp"] < events["cutoff"]]
    events = events.sort_values(["user_id", "timestamp"], kind="stable")
    events = events.groupby("user_id").tail(MAX_LENGTH)
    lists = events.groupby("user_id")[list(COLUMNS)].agg(list)
    out.mkdir()
    examples.merge(lists.reset_index(), on="user_id", how="left").to_parquet(out / "part.parquet")


def prepare_with_polars(events_path: Path, examples_path: Path, out: Path) -> None:
    import polars as pl

    examples = pl.read_parquet(examples_path)
    events = pl.scan_parquet(events_path).join(examples.lazy(), on="user_id", maintain_order="left")
    events = events.filter(pl.col("timestamp") < pl.col("cutoff"))
    events = events.sort("user_id", "timestamp", maintain_order=True)
    lists = events.group_by("user_id").agg(pl.col(COLUMNS).tail(MAX_LENGTH)).collect()
    out.mkdir()
    examples.join(lists, on="user_id", how="left").write_parquet(out / "part.parquet")


SIDES: dict[str, Callable[[Path, Path, Path], None]] = {
    "habitus": prepare_with_habitus,
    "pandas": prepare_with_pandas,
    "polars": prepare_with_polars,
}


# --- running and comparing ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One side's process: how long, how much memory, and why it ended if not well."""

    side: str
    seconds: float
    peak_gb: float
    output_gb: float = 0.0
    failure: str | None = None


def run_alone(side: str, arguments: Sequence[str], limit_gb: float) -> Run:
    """Run one step of this file as a process, and stop it if it holds more than `limit_gb`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--step", side, *arguments], stdout=subprocess.PIPE, text=True
    )
    largest = 0.0
    while process.poll() is None:
        time.sleep(POLL_S)
        largest = max(largest, _resident_gb(process.pid))
        if largest > limit_gb:
            process.kill()
            process.wait()
            return Run(side, time.perf_counter() - started, largest, failure=f"stopped at {limit_gb:.1f} GB")
    seconds = time.perf_counter() - started
    printed = process.stdout.read().split() if process.stdout else []
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
        return Run(side, seconds, largest, failure=f"failed with {how}")
    return Run(side, seconds, float(printed[-1]), _size_gb(Path(arguments[-1])))


def run_step(side: str, paths: Sequence[str]) -> None:
    """Do one side's work in this process and print the peak memory in GB as the last word."""
    SIDES[side](*map(Path, paths))
    print(_peak_gb())


def _peak_gb() -> float:
    """Peak resident memory of this process; VmHWM because ru_maxrss starts from what the parent held."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return max(children, next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))) / 1e6 * 1.024
    scale = 1e9 if sys.platform == "darwin" else 1e6 / 1.024
    return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / scale


def _resident_gb(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    return 0.0


def _size_gb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e9


def measure(sides: Sequence[str], folder: Path, rounds: int, limit_gb: float) -> list[Run]:
    """Run the sides in turn, `rounds` times over; medians of the seconds, the largest of the peaks."""
    runs: dict[str, list[Run]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            if runs[side] and runs[side][-1].failure:
                continue
            shutil.rmtree(folder / side, ignore_errors=True)
            paths = [str(folder / name) for name in ("events.parquet", "examples.parquet", side)]
            runs[side].append(run_alone(side, paths, limit_gb))
            print(f"{side}: {runs[side][-1].seconds:.1f} s", file=sys.stderr)
    return [
        replace(last[-1], seconds=median(run.seconds for run in last), peak_gb=max(run.peak_gb for run in last))
        for last in runs.values()
    ]


def compare_rows(one: Path, other: Path, n_users: int, n_sample: int, seed: int) -> str:
    """Compare the lists of a sample of users, value by value; raise if any differ."""
    import polars as pl

    wanted = pl.int_range(1, n_users + 1, eager=True).sample(min(n_sample, n_users), seed=seed)
    rows = [_sample(folder, wanted) for folder in (one, other)]
    if len(rows[0]) != len(wanted) or not rows[0]["user_id"].equals(rows[1]["user_id"]):
        raise SystemExit(f"{one.name} wrote {len(rows[0])} of {len(wanted)} users, {other.name} {len(rows[1])}")
    for name in COLUMNS:
        for user, left, right in zip(rows[0]["user_id"], rows[0][name], rows[1][name], strict=True):
            if not left.equals(right):
                raise SystemExit(f"user {user}, {name}: {one.name} wrote {left}, {other.name} wrote {right}")
    lengths = rows[0]["item_id"].list.len()
    return (
        f"{len(wanted):,} users' rows are equal in {one.name} and {other.name} "
        f"({lengths.sum():,} events, longest {lengths.max()}, {(lengths == 0).sum()} without any)"
    )


def _sample(folder: Path, users: pl.Series) -> pl.DataFrame:
    """Read the chosen users in one form: microseconds for times, empty lists for no events."""
    import polars as pl

    plain = {"timestamp": pl.List(pl.Int64), "item_id": pl.List(pl.Int64), "amount": pl.List(pl.Float64)}
    rows = pl.scan_parquet(folder / "*.parquet").filter(pl.col("user_id").is_in(users.implode()))
    found = rows.select("user_id", *plain).sort("user_id").collect()
    times = pl.col("timestamp").cast(pl.List(pl.Datetime("us", "UTC")))
    lists = [pl.col(name).cast(kind).fill_null(pl.lit([], kind)) for name, kind in plain.items()]
    return found.with_columns(times).with_columns(lists)


# --- the table and the command line ---------------------------------------------------------------------------------


def describe_machine() -> str:
    """Return processor, cores, memory and versions in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "pandas", "pyarrow"))
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB; Python {platform.python_version()}, {packages}"


def print_table(runs: Sequence[Run], n_events: int) -> None:
    """Print a Markdown table; ratios are times and memory of a side over those of the first."""
    ours = runs[0]
    print("| side | seconds | events/s | times Habitus | peak memory, GB | times Habitus | output, GB |")
    print("|---|---|---|---|---|---|---|")
    for run in runs:
        ratios = [run.seconds / ours.seconds, run.peak_gb / ours.peak_gb]
        slower, larger = ("-", "-") if run.failure or ours.failure else (f"{ratio:.2f}" for ratio in ratios)
        speed, output = (
            (run.failure, "-") if run.failure else (f"{n_events / run.seconds:,.0f}", f"{run.output_gb:.3f}")
        )
        print(f"| {run.side} | {run.seconds:.1f} | {speed} | {slower} | {run.peak_gb:.2f} | {larger} | {output} |")


def benchmark(arguments: argparse.Namespace, folder: Path) -> int:
    """Make the data, run every side, print the table, compare the rows."""
    n_events, n_users, seed = arguments.events, arguments.users, arguments.seed
    started = time.perf_counter()
    make_log(folder / "events.parquet", n_events, n_users, seed)
    make_examples(folder / "examples.parquet", n_users, seed)
    print(f"data made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    wanted = {"habitus": True, "pandas": arguments.pandas, "polars": arguments.polars}
    sides = [side for side, is_wanted in wanted.items() if is_wanted]
    runs = measure(sides, folder, arguments.rounds, arguments.memory_limit_gb)
    print(f"{n_events:,} events, {n_users:,} users, seed {seed}, {arguments.rounds} round(s), {date.today()}")
    print(describe_machine(), end="\n\n")
    print_table(runs, n_events)
    print()
    good = [folder / run.side for run in runs if not run.failure]
    for other in good[1:]:
        print(compare_rows(good[0], other, n_users, arguments.sample, seed))
    return 1 if runs[0].failure else 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    parser = argparse.ArgumentParser(description="From a raw log to rows: Habitus against pandas")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="run the sides in turn so many times")
    parser.add_argument("--sample", type=int, default=5_000, help="users whose rows are compared")
    parser.add_argument("--no-pandas", dest="pandas", action="store_false")
    parser.add_argument("--polars", action="store_true", help="add the same steps in Polars, in memory")
    parser.add_argument("--folder", type=Path, help="where the data go (default: a temporary folder)")
    parser.add_argument("--memory-limit-gb", type=float, default=0.8 * total_gb, help="a side is stopped above it")
    parser.add_argument("--step", choices=tuple(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> int:
    arguments = parse()
    if arguments.step:
        run_step(arguments.step, arguments.paths)
        return 0
    with tempfile.TemporaryDirectory(prefix="prepare-", dir=arguments.folder) as folder:
        return benchmark(arguments, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
