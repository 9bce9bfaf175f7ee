"""`habitus fit forecast` and `habitus compare forecast`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from habitus.cli import options as opt
from habitus.cli.task_run import COMMON, run_compare, run_fit

FORECAST = "forecast"
Series = Annotated[
    str,
    typer.Option("--events", help="Table of series, one row a series and step: Parquet, CSV, Arrow, a folder, a glob."),
]

_TASK = opt.group(
    "Options",
    value=(list[str], "task.value", "Column to forecast; may be repeated.", "every column of numbers"),
    horizon=(int, "task.horizon", "Steps to predict.", "24"),
    context=(int, "task.context", "Steps that are read.", "14 seasons or 3 horizons"),
    loss=(Literal["quantile", "mse", "mae"], "task.loss", "What is learned: quantiles, mean or median.", "quantile"),
    variables=(
        Literal["independent", "joint"],
        "task.variables",
        "Read several variables each alone, or together.",
        "independent",
    ),
)
_SPLITTING = {
    **opt.group(
        "Which steps train and which judge",
        validation=(float, "split.validation", "Share of time that chooses the best epoch.", "0.1"),
        test=(float, "split.test", "Share of time, at the end, that judges.", "0.2"),
        train_steps=(int, "split.train_steps", "Length of training, in place of shares.", None),
        validation_steps=(int, "split.validation_steps", "Length of validation after it.", None),
        test_steps=(int, "split.test_steps", "Length of the test part after that.", None),
        validation_from=(str, "split.validation_from", "Time at which validation begins, in place of shares.", None),
        test_from=(str, "split.test_from", "Time at which the test part begins.", None),
        stride=(int, "split.stride", "Steps between two origins that judge.", "so that there are at most 5,000"),
    )
}
_READING = {
    **{name: opt.READING[name] for name in ("entity", "time", "time_zone", "time_unit", "drop")},
    **opt.group(
        "How the data is read",
        step=(str, "data.step", "Distance of two values: 15m, 1h, 1d, 1w, 1mo.", "the commonest"),
        season=(int, "data.season", "Steps a season, for MASE and the seasonal naive rival.", "a day, week or year"),
    ),
}
_SHARED = {**_TASK, **COMMON, **_SPLITTING, **_READING}
_FLAGS = {**opt.BACKBONE, **_SHARED}


@opt.fits(_FLAGS)
def fit_forecast(
    events: Series,
    run: opt.Run,
) -> None:
    """Train a model of the next values of series, with quantiles, and judge it.

    Judged from rolling origins of the last part of time beside the last value, the last season, a straight line and
    (extra `forecast`) exponential smoothing. Writes the model, metrics.json and report.html into the folder.

    Example:

        habitus fit forecast --events series.parquet --entity series_id --value load --horizon 96 --out runs/load
    """
    run_fit(FORECAST, run, {"events": events})


@opt.compares(_SHARED)
def compare_forecast(
    events: Series,
    run: opt.Run,
) -> None:
    """Train several forecasters on the same series.

    Says which has the lowest MASE, rivals included, or that it is a tie. Writes compare.json and report.html.

    Example:

        habitus compare forecast --events series.parquet --entity series_id --value load --out runs/compared
    """
    run_compare(FORECAST, run, {"events": events})
