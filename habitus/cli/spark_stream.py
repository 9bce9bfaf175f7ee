"""`habitus spark stream`: follow users on a stream of events with a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from habitus.cli import options as opt
from habitus.cli.output import note, say
from habitus.cli.spark import Master


def spark_stream(
    folder: opt.RunFolder,
    events: Annotated[str, typer.Option(help="Folder to which files of events come: Parquet or JSON lines.")],
    out: Annotated[str, typer.Option(help="Folder of the results, one subfolder a batch.")],
    checkpoint: Annotated[str, typer.Option(help="Folder of Spark's checkpoint; the same one goes on after a stop.")],
    master: Master = None,
    lateness: Annotated[
        str, typer.Option(help="How much later than the latest event one may come: 90s, 10m, 36h.")
    ] = "10m",
    alert_above: Annotated[
        float | None, typer.Option(help="Alert when a score rises to this.  [default: never]", show_default=False)
    ] = None,
    alert_rate: Annotated[
        float | None,
        typer.Option(help="Alert when this share of the latest events is of the class.  [default: never]"),
    ] = None,
    alert_window: Annotated[int, typer.Option(min=1, help="How many latest events the rate counts.")] = 20,
    alert_class: Annotated[
        str | None, typer.Option(help="Class whose probability is the score.  [default: the positive one of two]")
    ] = None,
    state_ttl: Annotated[
        str | None, typer.Option(help="Forget a user after so long without an event, such as 30d.  [default: never]")
    ] = None,
    every: Annotated[str, typer.Option(help="Time between two batches.")] = "5s",
    files_per_batch: Annotated[
        int | None, typer.Option(min=1, help="Most new files a batch reads.  [default: all that are there]")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Parts of the state; stay as the first run has them.  [default: the cluster's cores]"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Score what is there and stop.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Score every event of a stream.

    Each event gets the score that predict gives just after it. An event waits until none can come before it any more
    (--lateness); later ones are among the rejects. Stopped, it goes on with the same command.

    Example:

        habitus spark stream runs/risk --events incoming --out scored --checkpoint state --master local[2] --once
    """
    from habitus.spark.session import settings, spark_session
    from habitus.spark.stream import Streaming, follow, read_folder, run_stream
    from habitus.spark.stream_alerts import AlertRule

    rule = AlertRule(alert_above, alert_rate, alert_window)
    streaming = Streaming(lateness=lateness, state_ttl=state_ttl, rule=rule, alert_class=alert_class)
    spark = spark_session(master, quiet=True)
    # Spark's own 200 would make 200 small tasks of every batch
    parts = {"spark.sql.shuffle.partitions": str(partitions or spark.sparkContext.defaultParallelism)}
    rows = follow(read_folder(spark, events, files_per_batch=files_per_batch), folder, streaming)
    with settings(spark, parts):
        totals = run_stream(rows, out, checkpoint, once=once, every=every, on_batch=None if quiet else _told)
    say(f"{totals['score']:,} scores, {totals['alert']:,} alerts, {totals['reject']:,} rejects in {out}.")


def _told(counts: Mapping[str, int]) -> None:
    note(
        f"batch {counts['batch']}: {counts['score']:,} scores, {counts['alert']:,} alerts, {counts['reject']:,} rejects"
    )
