"""Sequence rows in Spark -> the same rows with the answers of a saved model behind them."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from habitus.data.sequence import EXAMPLE, WINDOW
from habitus.spark.bundles import open_bundle, ship_bundle
from habitus.spark.score import BATCH_ROWS, ScoreJob, answers_of


def score_rows(
    rows: DataFrame,
    bundle: str | Path,
    *,
    prefix: str = "",
    batch_rows: int = BATCH_ROWS,
    threads: int = 1,
    strict: bool = False,
    keep: list[str] | None = None,
) -> DataFrame:
    """Score sequence rows; lazy, as Spark is.

    Args:
        rows: sequence rows, as `habitus.spark.prepare` makes them.
        bundle: a saved model or a run folder, on the driver.
        prefix, batch_rows, threads, strict: as the transformer's parameters.
        keep: columns of the rows that the result has beside the answers; None keeps all.
    """
    from habitus.model.score_rows import RowScorer, require_row_columns

    model = open_bundle(bundle)
    require_row_columns(rows.columns, model)
    kept = [name for name in rows.columns if keep is None or name in keep]
    answers = answers_of(kept, RowScorer(model, prefix=prefix).schema)
    windows = model.data.history == "windows" and EXAMPLE in rows.columns
    if windows:
        rows = rows.repartition(EXAMPLE).sortWithinPartitions(EXAMPLE, WINDOW)
    job = ScoreJob(
        ship_bundle(rows.sparkSession, bundle),
        tuple(kept),
        drop_windows=windows,
        prefix=prefix,
        threads=threads,
        batch_rows=batch_rows,
        strict=strict,
    )
    declared = StructType([*(rows.schema[name] for name in kept), *from_arrow_schema(answers)])
    return rows.mapInArrow(job, declared)


def split_rejected(scored: DataFrame, prefix: str = "") -> tuple[DataFrame, DataFrame]:
    """Return the rows with answers, without the column of reasons, and the rows without answers, with it."""
    reason = F.col(f"`{prefix}rejected`")
    return scored.filter(reason.isNull()).drop(f"{prefix}rejected"), scored.filter(reason.isNotNull())
