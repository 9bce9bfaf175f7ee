"""Scoring a log into a folder of Parquet: what `habitus spark predict` does.

The scores have the columns of `habitus predict`. What could not be scored stands with its reason in a folder beside
them, OUT.rejects; rows that could not be read stand in OUT.rejects.csv.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from habitus.atomic import replace_folder
from habitus.data.rejects import Rejects
from habitus.errors import ConfigError
from habitus.spark.bundles import open_bundle
from habitus.spark.failures import in_a_sentence
from habitus.spark.folder import local_folder
from habitus.spark.prepare import sequence_rows
from habitus.spark.reading import all_rejects
from habitus.spark.score import BATCH_ROWS
from habitus.spark.scoring import score_rows, split_rejected


@dataclass(frozen=True)
class Scored:
    """What a run of scoring left.

    Args:
        out: the folder of scores.
        columns: of the scores.
        n: rows scored.
        n_rejected: examples that could not be scored.
        rejects: rows that could not be read.
        paths: everything that was written.
        notes: sentences to say aloud.
    """

    out: str
    columns: list[str]
    n: int
    n_rejected: int
    rejects: Rejects
    paths: list[str]
    notes: list[str]


def predict_to_folder(
    spark: SparkSession,
    bundle: str | Path,
    events: Any,
    examples: Any | None,
    out: str | Path,
    *,
    order: str | None = None,
    threads: int = 1,
    batch_rows: int = BATCH_ROWS,
    strict: bool = False,
    partitions: int | None = None,
) -> Scored:
    """Score examples, or every entity at the end of its history, and write Parquet.

    Args:
        spark: the session.
        bundle: a saved model or a run folder, on the driver.
        events, examples, order, partitions: as for `sequence_rows`.
        out: a folder that driver and executors share, replaced whole; or an address that Spark writes to, where
            `_SUCCESS` says that it is whole.
        threads, batch_rows, strict: as for `score_rows`.

    Raises:
        DataError: with `strict`, for the first row that cannot be scored.
    """
    _refuse_other_files(out)
    model = open_bundle(bundle)
    schema = model.encoder_.schema
    rows = sequence_rows(spark, events, examples, data=model.data, schema=schema, order=order, partitions=partitions)
    who = [schema.entity, schema.cutoff]
    scored = score_rows(rows.frame, bundle, batch_rows=batch_rows, threads=threads, strict=strict, keep=who)
    scored = scored.persist(StorageLevel.DISK_ONLY)  # scores are small, and written in two places
    try:
        with in_a_sentence("Scoring"):
            good, bad = split_rejected(scored)
            n, n_rejected = good.count(), bad.count()
            paths = [_write(good, str(out))]
            paths += [_write(bad.select(*who, "rejected"), f"{out}.rejects")] if n_rejected else _gone(f"{out}.rejects")
    finally:
        scored.unpersist()
    rejects = all_rejects(rows.log, rows.examples)
    if rejects.total and _is_local(out):
        paths.append(str(rejects.write_csv(f"{local_folder(out)}.rejects.csv")))
    return Scored(str(out), good.columns, n, n_rejected, rejects, paths, rows.notes)


def _is_local(out: str | Path) -> bool:
    return urlparse(str(out)).scheme in ("", "file")


def _write(frame: DataFrame, out: str) -> str:
    """Write Parquet, in place of what an earlier run wrote."""
    if not _is_local(out):
        frame.write.mode("overwrite").parquet(out)
        return out
    with replace_folder(local_folder(out)) as temporary:
        written = temporary / "rows"
        frame.write.parquet(str(written))
        files = [file for file in sorted(written.glob("part-*.parquet")) if pq.read_metadata(file).num_rows]
        for number, file in enumerate(files or sorted(written.glob("part-*.parquet"))[:1]):
            file.rename(temporary / f"part-{number:05d}.parquet")
        shutil.rmtree(written)
    return out


def _gone(out: str) -> list[str]:
    """Remove the rejects of an earlier run."""
    if _is_local(out) and local_folder(out).is_dir():
        shutil.rmtree(local_folder(out))
    return []


def _refuse_other_files(out: str | Path) -> None:
    for folder in (local_folder(out), local_folder(f"{out}.rejects")) if _is_local(out) else ():
        others = [one.name for one in folder.iterdir()] if folder.is_dir() else []
        others = [name for name in others if not name.startswith((".", "_", "part-"))]
        if others or folder.is_file():
            what = f"holds {', '.join(sorted(others)[:3])}, which would be deleted" if others else "is a file"
            raise ConfigError(f"'{folder}' {what}; give a new folder for the scores.")
