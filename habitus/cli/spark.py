"""`habitus spark prepare` and `habitus spark predict`, here and under spark-submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from habitus.cli import options as opt
from habitus.cli.output import note, notes, say, wrote
from habitus.cli.scoring import said
from habitus.cli.settings import CLASSIFY, build_data, build_split, read_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Master = Annotated[
    str | None,
    typer.Option(help="Where Spark runs: local[2], spark://host:7077, yarn ...  [default: as spark-submit says]"),
]
Log = Annotated[
    str, typer.Option(help="The log: files, a folder or a glob that every node sees, or an s3a:// address.")
]
Partitions = Annotated[int | None, typer.Option(help="Partitions of the shuffle.  [default: as Spark says]", min=1)]
Memory = Annotated[str | None, typer.Option("--driver-memory", help="Memory of the JVM that this starts, such as 4g.")]
_FLAGS = {**opt.TARGET, **opt.READING, **opt.LENGTH, **opt.SPLITTING, **opt.SEED}


@opt.with_options(_FLAGS)
def spark_prepare(
    events: Log,
    out: Annotated[Path, typer.Option(help="Folder to write, shared by driver and executors; replaced whole.")],
    examples: Annotated[
        str | None, typer.Option(help="Table of examples, in the same forms. Without it: everyone, as of now.")
    ] = None,
    master: Master = None,
    partitions: Partitions = None,
    memory: Memory = None,
    quiet: opt.Quiet = False,
    **given: Any,
) -> None:
    """Build sequence rows on Spark.

    Writes the rows that one machine would build as Parquet parts, with sequences.json, encoder.json, a manifest and the
    rejected rows. With --split, --validation or --test each row says its part, and vocabularies and scalers are learned
    from the training part alone.

    Example:

        habitus spark prepare --events installs --examples labels.parquet --target risk --out prepared --master local[2]
    """
    settings = read_settings(None, given, CLASSIFY, _FLAGS)
    data, split = build_data(settings), build_split(settings)
    divided = any(given.get(name) is not None for name in ("split", "validation", "test"))
    from habitus.spark.folder import local_folder, write_rows
    from habitus.spark.prepare import sequence_rows

    local_folder(out)
    spark = _session(master, memory, quiet)
    _progress(quiet, "reading the log and the examples")
    rows = sequence_rows(
        spark,
        events,
        examples,
        target=settings["task"].get("target"),
        data=data,
        split=split if divided else None,
        partitions=partitions,
    )
    _progress(quiet, f"building the rows of {rows.examples.n:,} examples")
    prepared = write_rows(rows, out)
    notes([*prepared.notes, *said(prepared.rejects)])
    shares = ", ".join(f"{n:,} {part}" for part, n in sorted(prepared.parts.items()))
    say(f"{prepared.n_rows:,} rows of {rows.examples.n:,} examples in {out}{f' ({shares})' if shares else ''}.")
    wrote([out])


def spark_predict(
    folder: opt.RunFolder,
    events: Log,
    out: Annotated[str, typer.Option(help="Folder to write, or an s3a:// address; replaced.")],
    examples: Annotated[
        str | None, typer.Option(help="Table of entity, cutoff, profile fields. Without it: everyone, as of now.")
    ] = None,
    master: Master = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail at a row that cannot be scored.")] = False,
    partitions: Partitions = None,
    threads: Annotated[int, typer.Option(help="Threads of torch in each Python worker.", min=1)] = 1,
    batch_rows: Annotated[int, typer.Option(help="Rows that are scored together, at least.", min=1)] = 20_000,
    memory: Memory = None,
    quiet: opt.Quiet = False,
) -> None:
    """Score a log on Spark with a saved model.

    Writes Parquet with the columns of `habitus predict`. Examples that cannot be scored stand in OUT.rejects with their
    reason, rows that cannot be read in OUT.rejects.csv.

    Example:

        habitus spark predict runs/risk --events installs --examples users.parquet --out scores --master local[2]
    """
    from habitus.bundle import resolve_bundle

    resolve_bundle(folder)
    from habitus.spark.predict import predict_to_folder

    spark = _session(master, memory, quiet)
    _progress(quiet, "reading, slicing and scoring")
    scored = predict_to_folder(
        spark,
        folder,
        events,
        examples,
        out,
        threads=threads,
        batch_rows=batch_rows,
        strict=strict,
        partitions=partitions,
    )
    notes([*scored.notes, *said(scored.rejects)])
    if scored.n_rejected:
        notes([f"{scored.n_rejected:,} examples could not be scored; their reasons are in {out}.rejects."])
    say(f"{scored.n:,} scores in {out}: columns {', '.join(scored.columns)}.")
    wrote(scored.paths)


def _session(master: str | None, memory: str | None, quiet: bool) -> SparkSession:
    from habitus.spark.session import spark_session

    _progress(quiet, "starting Spark")
    return spark_session(master, memory=memory, quiet=quiet)


def _progress(quiet: bool, doing: str) -> None:
    if not quiet:
        note(doing)
