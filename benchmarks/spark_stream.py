"""Follow 100,000 events that come out of order; kill the query twice; compare with a batch run.

    python benchmarks/spark_stream.py --events 100000 --users 1700 --files 10

Prints events a second, how many scores came, how many are doubled or lost, the largest difference between the last
score of each user and `predict` on the whole log, and how many alerts came against how many rises there are.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

import habitus as hb
from habitus.data.simulate import simulate_installs
from habitus.model import Options
from habitus.training import Training

LATENESS = timedelta(days=2)


def main() -> None:
    given = options()
    folder = given.folder
    (folder / "in").mkdir(parents=True)
    log = simulate_installs(given.users, seed=3)
    training = Training(epochs=2, threads=1, tracker=None)
    data = hb.Data(max_length=64)
    model = hb.SequenceModel(
        hb.Classify("risk"), hb.GRU(hidden_size=32), data=data, training=training, options=Options(baselines=())
    )
    model.fit(log.events, log.labels).save(folder / "model")
    events = write_files(log.events.head(given.events), folder / "in", given.files)
    above = float(model.predict(events)["probability"].quantile(0.7))  # of which there are rises
    command = [sys.executable, "-c", "import sys; from habitus.cli import main; sys.exit(main(sys.argv[1:]))"]
    command += ["spark", "stream", str(folder / "model"), "--events", str(folder / "in"), "--out", str(folder / "out")]
    command += ["--checkpoint", str(folder / "state"), "--lateness", "2d", "--alert-above", str(above), "--once"]
    command += ["--files-per-batch", "1", "--master", given.master]
    began = time.monotonic()
    for n_batches in given.kill_at:
        kill_after(command, folder / "out", n_batches)
    subprocess.run(command, check=True)
    seconds = time.monotonic() - began
    found = judge(model, events, folder / "out", above)
    print(json.dumps({"seconds": round(seconds, 1), "kills": len(given.kill_at), **found}, indent=1))


def judge(model: hb.SequenceModel, events: pl.DataFrame, out: Path, above: float) -> dict[str, object]:
    """Compare what came out with a batch run."""
    finished = [path.parent for path in sorted(out.glob("batch=*/_SUCCESS"))]
    scores = pl.concat([pl.read_parquet(path) for one in finished for path in one.glob("kind=score/*.parquet")])
    alerts = pl.concat([pl.read_parquet(path) for one in finished for path in one.glob("kind=alert/*.parquet")])
    key = ["user_id", "since", "n"]
    last = scores.sort("user_id", "n").group_by("user_id").last()
    both = model.predict(events).join(last, on="user_id", suffix="_streamed")
    before = pl.col("probability").shift(fill_value=0.0).over("user_id", order_by="n")
    return {
        "events": events.height,
        "scores": scores.height,
        "doubled": scores.height - scores.unique(key).height,
        "users": both.height,
        "largest difference": float((both["probability"] - both["probability_streamed"]).abs().max()),
        "equal to the last digit": float((both["probability"] == both["probability_streamed"]).mean()),
        "alerts": alerts.height,
        "alerts doubled": alerts.height - alerts.unique(key).height,
        "rises": scores.filter(pl.col("probability") >= above, before < above).height,
    }


def write_files(events: pl.DataFrame, folder: Path, n_files: int) -> pl.DataFrame:
    """Write events in the order of a late arrival, then one whose time releases all; return them in that order."""
    delay = np.random.default_rng(0).uniform(0, LATENESS.total_seconds() * 1e6 - 1, events.height)
    order = np.argsort(events["timestamp"].dt.epoch("us").to_numpy() + delay, kind="stable")
    clock = events.tail(1).with_columns(pl.lit("~clock").alias("user_id"), pl.col("timestamp").dt.offset_by("9d"))
    for number, frame in enumerate([*(events[rows] for rows in np.array_split(order, n_files)), clock]):
        path = folder / f"part-{number:04d}.parquet"
        frame.write_parquet(path)
        os.utime(path, ns=(10**18 + number * 10**9,) * 2)
    return events[order]


def kill_after(command: list[str], out: Path, n_batches: int) -> None:
    """Start the query in a process of its own and kill all of it once so many batches have begun."""
    running = subprocess.Popen(command, start_new_session=True)
    try:
        while len(list(out.glob("batch=*"))) < n_batches and running.poll() is None:
            time.sleep(0.05)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    print(f"killed in batch {n_batches - 1}", file=sys.stderr)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1_700, help="simulated; about 60 events each")
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--kill-at", type=int, nargs="*", default=[3, 7], help="kill when so many batches have begun")
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--folder", type=Path, required=True, help="a new folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
