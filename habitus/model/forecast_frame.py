"""What a forecasting run says of its data, and the table of forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from habitus.data.series.encoder import SeriesEncoder
from habitus.data.series.forecasts import Answer
from habitus.data.series.read import ONLY_SERIES
from habitus.data.series.rows import Origins
from habitus.data.series.table import SeriesTable


def forecast_facts(
    table: SeriesTable, encoder: SeriesEncoder, borders: tuple[int, int, int], strides: Mapping[str, int]
) -> dict[str, Any]:
    """Return plain facts of the series, their parts and windows."""
    until, test, end = (str(np.array(one, "M8[us]").astype("M8[m]")) + "Z" for one in borders)
    return {
        "n_series": len(table),
        "n_steps": int(table.offsets[-1]),
        "variables": list(table.variables),
        "step": str(encoder.step),
        "season": encoder.season,
        "context": encoder.context,
        "horizon": encoder.horizon,
        "calendar": list(encoder.calendar),
        "stride": strides["test"],
        "split": f"by time: training before {until}, validation before {test}, test before {end}",
    }


def forecast_said(encoder: SeriesEncoder, strides: Mapping[str, int], n_gaps: int) -> list[str]:
    """Say what was thinned out or left out."""
    said = [
        f"Of {part} one origin in {stride} is taken; --stride sets it for the test part."
        for part, stride in strides.items()
        if stride > 1
    ]
    if n_gaps:
        said.append(
            f"{n_gaps:,} origins are left out: more than half of their {encoder.context} steps of context is missing, "
            "or all that they would predict."
        )
    return said


def forecast_frame(rows: Origins, answer: Answer, encoder: SeriesEncoder) -> pl.DataFrame:
    """Return forecasts in long form: a row for each series, future step and variable."""
    n, n_steps, n_variables = answer.point.shape
    table = rows.table
    each = n_steps * n_variables
    names = pl.Series(encoder.entity or ONLY_SERIES, np.repeat(rows.names, each).tolist(), dtype=pl.String)
    time_us = np.repeat(table.time_us[rows.target_steps()].ravel(), n_variables)
    columns = [
        names.cast(pl.Int64) if table.is_integer else names,
        pl.Series(encoder.time, time_us).cast(pl.Datetime("us", "UTC")),
    ]
    if n_variables > 1:
        columns.append(pl.Series("variable", list(encoder.variables) * (n * n_steps), dtype=pl.String))
    columns.append(pl.Series("prediction", answer.point.ravel()).cast(pl.Float64).fill_nan(None))
    if answer.quantiles is not None:
        missing = np.isnan(answer.point)
        for i, level in enumerate(answer.levels):
            values = np.where(missing, np.nan, answer.quantiles[..., i])
            columns.append(pl.Series(f"quantile_{level:g}", values.ravel()).cast(pl.Float64).fill_nan(None))
    return pl.DataFrame(columns)
