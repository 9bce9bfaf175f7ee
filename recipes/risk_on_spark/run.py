"""Whole path on a cluster: simulate installs, prepare, train, score everybody, sort into bands, report. One command.

    python recipes/risk_on_spark/run.py --users 1000000

Starts a standalone cluster of this machine (one master, two workers as processes), writes everything below --out, and
prints how long each phase took. Run again with the same --out, what stands there is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from habitus.data.simulate.installs import CHUNK_USERS, simulate_chunk
from habitus.spark import SequenceModelEstimator, spark_session
from habitus.spark.cluster import Cluster
from habitus.spark.predict import predict_to_folder
from habitus.training import ProgressBar

BANDS = (("low", 0.0), ("medium", 0.2), ("high", 0.5))  # name and the probability from which on
CONFIG: dict[str, dict[str, Any]] = {
    "backbone": {"hidden_size": 32},
    "data": {"max_length": 64},
    "training": {"threads": 1},
    "options": {"baselines": ["most frequent", "bag + logistic regression"]},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe; returns 0."""
    given = _options(arguments)
    out = given.out.absolute()
    phases: dict[str, float] = {}
    out.mkdir(parents=True, exist_ok=True)
    with Cluster(workers=given.workers, memory=given.memory, folder=out / "cluster") as cluster:
        spark = spark_session(cluster.master, memory="2g", config=_settings(cluster))
        try:
            with _timed("simulate", phases):
                simulate(spark, given.users, given.seed, out / "data")
            with _timed("prepare and train", phases):
                train(spark, given, out)
            with _timed("score", phases):
                n_scored = score(spark, out)
            with _timed("bands", phases):
                bands = write_bands(spark, out)
        finally:
            spark.stop()
    facts = {"users": given.users, "scored": n_scored, "seconds": phases, "bands": bands}
    (out / "result.json").write_text(json.dumps(facts, indent=1))
    write_report(facts, out / "report.html")
    _print(facts, out)
    return 0


def simulate(spark: SparkSession, n_users: int, seed: int, folder: Path) -> None:
    """Write events and labels, one file for each 5,000 people; tasks that are run again write the same file."""
    if (folder / "_DONE").is_file() and (folder / "_DONE").read_text() == f"{n_users} {seed}":
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("events", "labels"):
        (folder / name).mkdir(parents=True)
    n_chunks = math.ceil(n_users / CHUNK_USERS)

    def write(chunk: int) -> None:
        made = simulate_chunk(n_users, seed, chunk)
        for name in ("events", "labels"):
            path = folder / name / f"part-{chunk:05d}.parquet"
            getattr(made, name).write_parquet(path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)

    spark.sparkContext.parallelize(range(n_chunks), n_chunks).foreach(write)
    (folder / "_DONE").write_text(f"{n_users} {seed}")


def train(spark: SparkSession, given: argparse.Namespace, out: Path) -> None:
    """Prepare and train on the first people, who are as random as any."""
    last = f"u{given.train_users - 1:07d}"
    events = spark.read.parquet(str(out / "data" / "events")).filter(F.col("user_id") <= last)
    labels = spark.read.parquet(str(out / "data" / "labels")).filter(F.col("user_id") <= last)
    config = {**CONFIG, "training": {**CONFIG["training"], "epochs": given.epochs}}
    estimator = SequenceModelEstimator(
        labelCol="risk", backbone="gru", config=config, folder=str(out / "run"), processes=given.workers
    )
    estimator.setExamples(labels).setCallbacks([] if given.quiet else [ProgressBar()]).fit(events)
    evaluation = estimator.fitted_.evaluation_
    assert evaluation is not None
    (out / "metrics.json").write_text(json.dumps(evaluation.to_json(), default=str))


def score(spark: SparkSession, out: Path) -> int:
    """Score every example of everybody; return how many there are."""
    data = out / "data"
    return predict_to_folder(spark, out / "run" / "model", str(data / "events"), str(data / "labels"), out / "scores").n


def write_bands(spark: SparkSession, out: Path) -> list[dict[str, Any]]:
    """Write the scores with what came of them, a folder a band; return counts by band."""
    band = F.lit(BANDS[0][0])
    for name, low in BANDS[1:]:
        band = F.when(F.col("probability") >= low, name).otherwise(band)
    labels = spark.read.parquet(str(out / "data" / "labels")).select("user_id", "cutoff", "risk")
    scores = spark.read.parquet(str(out / "scores")).withColumn("band", band)
    scores.join(labels, ["user_id", "cutoff"]).write.mode("overwrite").partitionBy("band").parquet(str(out / "bands"))
    found = spark.read.parquet(str(out / "bands")).groupBy("band")
    counts = found.agg(F.count("*").alias("n"), F.mean("probability").alias("mean"), F.mean("risk").alias("rate"))
    by_name = {row["band"]: row.asDict() for row in counts.collect()}
    return [by_name.get(name, {"band": name, "n": 0, "mean": None, "rate": None}) for name, _ in BANDS]


def write_report(facts: dict[str, Any], path: Path) -> None:
    """Write one HTML page: counts by band, a plot, and how long each phase took."""
    bands, seconds = facts["bands"], facts["seconds"]
    rows = "".join(
        f"<tr><td>{escape(one['band'])}</td><td>{one['n']:,}</td><td>{_share(one['mean'])}</td>"
        f"<td>{_share(one['rate'])}</td></tr>"
        for one in bands
    )
    times = "".join(f"<tr><td>{escape(name)}</td><td>{value:,.1f}</td></tr>" for name, value in seconds.items())
    path.write_text(
        "<!doctype html><meta charset='utf-8'><title>Risk on Spark</title>"
        "<style>body{font:16px/1.5 system-ui;max-width:46em;margin:2em auto;padding:0 1em}td,th{padding:.2em 1em;"
        "text-align:right}td:first-child,th:first-child{text-align:left}</style>"
        f"<h1>Risk of {facts['scored']:,} examples of {facts['users']:,} people</h1>"
        "<table><tr><th>band<th>examples<th>mean probability<th>share that was risky</tr>"
        f"{rows}</table>{_plot(bands)}<h2>Seconds</h2><table>{times}</table>",
        "utf-8",
    )


def _plot(bands: list[dict[str, Any]]) -> str:
    """Return bars of the counts as SVG, with the share that was risky above each."""
    most = max(max(one["n"] for one in bands), 1)
    bars = ""
    for number, one in enumerate(bands):
        height, x = 160 * one["n"] / most, 40 + 140 * number
        bars += (
            f"<rect x='{x}' y='{200 - height:.1f}' width='100' height='{height:.1f}' fill='#4477aa'/>"
            f"<text x='{x + 50}' y='{192 - height:.1f}' text-anchor='middle'>{_share(one['rate'])}</text>"
            f"<text x='{x + 50}' y='220' text-anchor='middle'>{escape(str(one['band']))}</text>"
        )
    caption = "Examples by band; above each bar the share that was risky."
    return f"<svg viewBox='0 0 480 240' role='img' aria-label='{caption}'>{bars}</svg><p>{caption}</p>"


def _share(value: object) -> str:
    return "–" if value is None else f"{float(str(value)):.1%}"


def _settings(cluster: Cluster) -> dict[str, str]:
    return {
        **cluster.settings,
        # Python workers stand beside the executor's JVM, which needs little itself
        "spark.executor.memory": "1g",
        "spark.sql.shuffle.partitions": "16",
        "spark.local.dir": str(cluster.folder / "local"),
    }


@contextmanager
def _timed(name: str, phases: dict[str, float]) -> Iterator[None]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    yield
    phases[name] = time.monotonic() - began
    print(f"{name}: {phases[name]:,.1f} s", file=sys.stderr, flush=True)


def _print(facts: dict[str, Any], out: Path) -> None:
    print(pl.DataFrame(facts["bands"]))
    print(json.dumps({name: round(value, 1) for name, value in facts["seconds"].items()}))
    print(f"report: {out / 'report.html'}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000, help="people to simulate and score")
    parser.add_argument("--train-users", type=int, default=20_000, help="the first of them train (default 20,000)")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2, help="of the cluster, and processes of the training")
    parser.add_argument("--memory", default="2g", help="of each worker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/risk_on_spark"))
    parser.add_argument("--quiet", action="store_true", help="show no progress of the training")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
