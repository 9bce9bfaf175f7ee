"""What Spark costs: scoring beside a plain loop of two processes, scoring ever more users, preparing a log.

    python benchmarks/spark.py overhead            # A B A B in one run: the loop, then Spark, on the same rows
    python benchmarks/spark.py scale               # 1, 3 and 10 million users with short histories
    python benchmarks/spark.py prepare             # events a second, beside one machine on the same files

CPU seconds are those of all processes below this one (the JVM, Python workers, processes of the loop); memory is the
sum of their resident sets, sampled once a second. Needs Linux for both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import habitus as hb
from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.sequence import build_sequences, write_sequences
from habitus.data.simulate import simulate_installs
from habitus.model import Options
from habitus.training import Training

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Cost:
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0


@contextmanager
def measured():
    """Yield a `Cost` that is filled when the block ends."""
    cost, done = Cost(), threading.Event()
    before = {pid: _cpu_s(pid) for pid in _own_processes()}
    latest = dict(before)  # a process that ends keeps what it was last seen with

    def look():
        pids = _own_processes()
        latest.update({pid: _cpu_s(pid) or latest.get(pid, 0.0) for pid in pids})
        cost.peak_mib = max(cost.peak_mib, sum(map(_resident_mib, pids)))

    def watch():
        while not done.wait(1.0):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    began = time.monotonic()
    watcher.start()
    try:
        yield cost
    finally:
        cost.wall_s = time.monotonic() - began
        done.set()
        watcher.join()
        look()
        cost.cpu_s = sum(spent - before.get(pid, 0.0) for pid, spent in latest.items())


def _own_processes():
    """Return the numbers of this process and all below it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    below, found = {os.getpid()}, -1
    while found != len(below):
        found = len(below)
        below |= {pid for pid, parent in parents.items() if parent in below}
    return below


def _cpu_s(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in fields[11:13]) / _TICK


def _resident_mib(pid):
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
    except OSError:
        return 0.0


def small_model(path, hidden_size, max_length):
    log = simulate_installs(500, seed=0)
    model = hb.SequenceModel(
        hb.Classify("risk"),
        backbone=hb.Transformer(n_layers=2, hidden_size=hidden_size, n_heads=2),
        data=hb.Data(max_length=max_length),
        training=Training(epochs=1, threads=1),
        options=Options(baselines=()),
    )
    model.fit(log.events, log.labels)
    model.save(path)
    return model


def session(memory="2g"):
    from habitus.spark import spark_session

    return spark_session("local[2]", memory=memory, config={"spark.sql.shuffle.partitions": "8"})


# --- overhead


def _start(bundle):
    import torch

    from habitus.model import load
    from habitus.model.score_rows import RowScorer

    torch.set_num_threads(1)
    global scorer
    scorer = RowScorer(load(bundle))


def _score_file(job):
    """The plain loop: one file of rows in, one file of scores out."""
    source, target = job
    rows = pq.read_table(source)
    answers = scorer(rows)
    columns = {"user_id": rows["user_id"], "cutoff": rows["cutoff"], "probability": answers["probability"]}
    pq.write_table(pa.table(columns), target)


def overhead(args):
    from habitus.spark import SequenceModelTransformer

    with tempfile.TemporaryDirectory() as scratch:
        folder, bundle = Path(scratch), str(Path(scratch, "model"))
        model = small_model(bundle, args.hidden_size, args.max_length)
        files = _rows_of_installs(model, folder / "rows", args.rows, args.files)
        (folder / "loop").mkdir()
        jobs = [(str(file), str(folder / "loop" / file.name)) for file in files]
        spark = session()
        stage = SequenceModelTransformer(bundle=bundle)
        with multiprocessing.get_context("spawn").Pool(2, _start, (bundle,)) as pool:

            def by_loop():
                pool.map(_score_file, jobs, chunksize=1)

            def by_spark(rows=None):
                frame = rows or spark.read.parquet(*(str(file) for file in files))
                scored = stage.transform(frame).select("user_id", "cutoff", "probability")
                scored.write.mode("overwrite").parquet(str(folder / "spark"))

            by_loop()  # both warm: models are read, code is compiled
            by_spark()
            print(f"{args.rows:,} rows, {args.files} files, Transformer of {args.hidden_size}, two processes each")
            print(f"{'run':14s} {'rows/s':>10s} {'wall s':>8s} {'CPU s':>8s}")
            found = {"plain loop": [], "Spark local[2]": []}
            for _ in range(args.repeats):
                for name, run in (("plain loop", by_loop), ("Spark local[2]", by_spark)):
                    with measured() as cost:
                        run()
                    found[name].append(cost)
                    print(
                        f"{name:14s} {args.rows / cost.wall_s:10,.0f} {cost.wall_s:8.1f} {cost.cpu_s:8.1f}", flush=True
                    )
        loop, ours = found.values()
        for what, said in (("wall_s", "wall time"), ("cpu_s", "CPU time")):
            ratio = sum(getattr(c, what) for c in loop) / sum(getattr(c, what) for c in ours)
            print(f"throughput of Spark by {said}: {ratio:.2f} of the plain loop")
        same = _largest_gap(folder / "loop", folder / "spark")
        print(f"largest difference of a score: {same:.1e}")
        spark.stop()


def _rows_of_installs(model, folder, n, n_files):
    """Write sequence rows of simulated installs, repeated to `n` rows, in files."""
    log = simulate_installs(min(n, 4000), seed=1)
    events = read_events(log.events, model.encoder_.schema)
    examples, _ = read_examples(log.labels, events, schema=model.encoder_.schema)
    rows = build_sequences(events, examples, max_length=model.data.max_length).to_table()
    order = np.random.default_rng(0).permutation(np.arange(n) % rows.num_rows)
    rows = rows.take(pa.array(order)).set_column(0, "_example", pa.array(np.arange(n)))
    rows = rows.set_column(rows.column_names.index("user_id"), "user_id", pa.array([f"u{i}" for i in range(n)]))
    folder.mkdir()
    each = -(-n // n_files)
    for number in range(n_files):
        pq.write_table(rows[number * each : (number + 1) * each], folder / f"part-{number:05d}.parquet")
    return sorted(folder.glob("*.parquet"))


def _largest_gap(one, other):
    tables = [pq.read_table(folder).sort_by("user_id") for folder in (one, other)]
    assert tables[0]["user_id"].equals(tables[1]["user_id"]), "the ids differ"
    return float(np.abs(tables[0]["probability"].to_numpy() - tables[1]["probability"].to_numpy()).max())


# --- scale


def scale(args):
    from pyspark.sql import functions as F

    from habitus.spark import SequenceModelTransformer

    with tempfile.TemporaryDirectory() as scratch:
        bundle = str(Path(scratch, "model"))
        small_model(bundle, args.hidden_size, 16)
        spark = session()
        stage = SequenceModelTransformer(bundle=bundle)
        print(f"users with 2 to 6 events, Transformer of {args.hidden_size}, local[2], JVM of 2 GiB")
        print(f"{'users':>12s} {'wall s':>8s} {'CPU s':>8s} {'us of CPU a user':>17s} {'users/s':>9s} {'peak MiB':>9s}")
        first = None
        for n in args.users:
            users = _short_users(spark, n, max(8, n // 125_000))
            out = str(Path(scratch, "scores"))
            with measured() as cost:
                scored = stage.transform(users).select("user_id", "cutoff", "prediction", "probability")
                scored.write.mode("overwrite").parquet(out)
            found = spark.read.parquet(out).agg(F.count("*"), F.approx_count_distinct("user_id", 0.01)).first()
            assert found[0] == n, f"{found[0]} scores of {n} users"
            each = 1e6 * cost.cpu_s / n
            first = first or each
            rate = n / cost.wall_s
            print(f"{n:12,} {cost.wall_s:8.1f} {cost.cpu_s:8.1f} {each:17.1f} {rate:9,.0f} {cost.peak_mib:9,.0f}")
            shutil.rmtree(out)
        print(f"cost of the last user over that of the first: {each / first:.2f}")
        spark.stop()


def _short_users(spark, n, partitions):
    """Return sequence rows that Spark itself makes up, 2 to 6 events each."""
    return spark.range(n, numPartitions=partitions).selectExpr(
        "concat('u', id) as user_id",
        "timestamp_seconds(1700000000) as cutoff",
        "transform(sequence(1, 2 + cast(pmod(xxhash64(id), 5) as int)), "
        "i -> timestamp_seconds(1699000000 + i * 86400)) as timestamp",
        "transform(sequence(1, 2 + cast(pmod(xxhash64(id), 5) as int)), "
        "i -> concat('App ', cast(pmod(xxhash64(id, i), 500) as string))) as item_id",
        "transform(sequence(1, 2 + cast(pmod(xxhash64(id), 5) as int)), "
        "i -> element_at(array('game', 'kids', 'loans', 'tools'), 1 + cast(pmod(xxhash64(id, i), 4) as int))) "
        "as category",
        "transform(sequence(1, 2 + cast(pmod(xxhash64(id), 5) as int)), "
        "i -> cast(pmod(xxhash64(i, id), 900) as double) / 10) as size_mb",
        "'east' as region",
        "'35-44' as age_band",
    )


# --- prepare


def prepare(args):
    import polars as pl

    from habitus.spark import sequence_rows, write_rows

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log = simulate_installs(args.users, seed=0)
        (folder / "log").mkdir()
        each = -(-log.events.height // 8)
        for number in range(8):
            log.events[number * each : (number + 1) * each].write_parquet(folder / "log" / f"{number}.parquet")
        log.labels.write_parquet(folder / "labels.parquet")
        events, labels, n = str(folder / "log"), str(folder / "labels.parquet"), log.events.height
        spark = session()
        print(f"{n:,} events of {args.users:,} users, max_length 64")
        print(f"{'where':14s} {'events/s':>10s} {'wall s':>8s} {'CPU s':>8s} {'peak MiB':>9s}")
        data = hb.Data(max_length=64)
        for name in ("one machine", "Spark local[2]") * args.repeats:
            with measured() as cost:
                if name == "one machine":
                    read = read_events(events)
                    table, _ = read_examples(labels, read, target="risk")
                    write_sequences(read, table, folder / "one", max_length=64)
                else:
                    rows = sequence_rows(spark, events, labels, target="risk", data=data, partitions=8)
                    write_rows(rows, folder / "many")
            print(
                f"{name:14s} {n / cost.wall_s:10,.0f} {cost.wall_s:8.1f} {cost.cpu_s:8.1f} {cost.peak_mib:9,.0f}",
                flush=True,
            )
        one = pl.read_parquet(folder / "one" / "*.parquet").sort("_example")
        many = pl.read_parquet(folder / "many" / "*.parquet").sort("_example")
        print("the rows are equal" if one.equals(many) else "THE ROWS DIFFER")
        spark.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("overhead")
    one.add_argument("--rows", type=int, default=40_000)
    one.add_argument("--files", type=int, default=8)
    one.add_argument("--repeats", type=int, default=2)
    one.add_argument("--hidden-size", type=int, default=64)
    one.add_argument("--max-length", type=int, default=128)
    two = commands.add_parser("scale")
    two.add_argument("--users", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    two.add_argument("--hidden-size", type=int, default=16)
    three = commands.add_parser("prepare")
    three.add_argument("--users", type=int, default=40_000)
    three.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    {"overhead": overhead, "scale": scale, "prepare": prepare}[args.command](args)


if __name__ == "__main__":
    main()
