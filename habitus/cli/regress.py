"""`habitus fit regress` and `habitus compare regress`."""

from __future__ import annotations

from typing import Literal

from habitus.cli import options as opt
from habitus.cli.few_labels import run_few_labels
from habitus.cli.fit import run_labelled_compare, run_labelled_fit
from habitus.cli.settings import REGRESS

TASK_FLAGS = opt.group(
    "Options",
    target=(str, "task.target", "Column of numbers to predict.", None),
    loss=(
        Literal["squared", "absolute", "huber", "quantile"],
        "task.loss",
        "What is predicted: the mean (squared), the median (absolute), between them (huber), or quantiles.",
        "squared",
    ),
    log=(bool, "task.log", "Learn log(1 + target), for amounts with a long tail; answers are in its unit.", None),
    quantile=(list[float], "task.quantiles", "Level for --loss quantile; may be repeated.", "0.1, 0.5 and 0.9"),
)
TRAINING_FLAGS = {name: flag for name, flag in opt.TRAINING.items() if name not in ("class_weight", "calibration")}
_SHARED = {
    **TASK_FLAGS, **opt.SEED, **TRAINING_FLAGS, **opt.STARTING, **opt.SETTING, **opt.SPLITTING, **opt.TEXT,
    **opt.READING, **opt.LENGTH,
}  # fmt: skip
_FLAGS = {**opt.TEXT_BACKBONE, **_SHARED}


@opt.fits(_FLAGS)
def fit_regress(
    examples: opt.Table,
    run: opt.Run,
    events: opt.EventsUnlessText = None,
    start: opt.From = None,
) -> None:
    """Train a model of a number, such as an amount or a waiting time, and judge it.

    Counting rivals are judged on the same examples. Writes the model, metrics.json and report.html into the folder.

    Example:

        habitus fit regress --events purchases.parquet --examples amounts.parquet --target amount --out runs/amount
    """
    run_labelled_fit(REGRESS, run, events, examples, start)


@opt.compares({**opt.PRETRAINED, **_SHARED})
def compare_regress(
    examples: opt.Table,
    run: opt.Run,
    events: opt.EventsUnlessText = None,
    start: opt.From = None,
    labels: opt.Labels = None,
    seeds: opt.Seeds = 5,
) -> None:
    """Train several models of a number on the same rows.

    Says which is best, counting rivals included, or that it is a tie. Writes compare.json and report.html.
    With --labels, also how many labels each needs; with --from, beside a model that starts from a pretrained bundle.

    Example:

        habitus compare regress --events purchases.parquet --examples amounts.parquet --target amount --out runs/compare
    """
    if labels is not None or start is not None:
        run_few_labels(REGRESS, run, events, examples, labels or "100%", start, seeds)
    else:
        run_labelled_compare(REGRESS, run, events, examples)
