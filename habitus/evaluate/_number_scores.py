"""From the scores file of a run about numbers to the panels' figures, in NumPy. Knows nothing about drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from habitus.errors import DataError
from habitus.metrics.intervals import wilson

MODEL = "prediction"
_Z = 1.959964


@dataclass(frozen=True)
class NumberScores:
    """What the model answered about each test example, and what was true.

    Args:
        truth, answer: (n,) in the target's unit.
        quantiles: level -> (n,), where the model predicts them.
        n_unusable: rows left out, whose target or answer is no number.
    """

    truth: np.ndarray
    answer: np.ndarray
    quantiles: dict[float, np.ndarray]
    n_unusable: int


@dataclass(frozen=True)
class Group:
    """Examples of similar answers: how large, how wrong, and the mean truth with its 95 % interval."""

    n: int
    lowest: float
    highest: float
    mean_answer: float
    mean_truth: float
    low: float
    high: float
    mae: float
    share: float  # of all that was true in this group and those above it


def read_number_scores(path: Path, target: str, quantiles: Mapping[str, float]) -> NumberScores | None:
    """Read `test_scores.parquet`; None if it is absent or holds no answers.

    Args:
        path: a row for each example.
        target: column of the target.
        quantiles: end of a column's name -> level, as in {"q10": 0.1}.
    """
    if not path.is_file():
        return None
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"'{path}' cannot be read as Parquet ({error}); evaluate the model again.") from error
    named = {level: f"{MODEL}_{end}" for end, level in quantiles.items()}
    point = named.get(0.5, MODEL)
    if not {target, point, *named.values()} <= set(frame.columns):
        return None
    columns = {name: _floats(frame[name]) for name in {target, point, *named.values()}}
    usable = np.all([np.isfinite(column) for column in columns.values()], axis=0)
    if not usable.any():
        return None
    kept = {name: column[usable] for name, column in columns.items()}
    return NumberScores(
        kept[target], kept[point], {level: kept[name] for level, name in named.items()}, int((~usable).sum())
    )


def groups(scores: NumberScores, n_groups: int = 10) -> list[Group]:
    """Cut examples into groups of about equal size by answer, largest first; equal answers stay together.

    >>> found = groups(NumberScores(np.array([1.0, 3, 8, 9]), np.array([1.0, 1, 7, 7]), {}, 0), n_groups=2)
    >>> [(one.n, one.mean_answer, one.mean_truth, one.share) for one in found]
    [(2, 7.0, 8.5, 0.8095238095238095), (2, 1.0, 2.0, 1.0)]
    """
    truth, answer = scores.truth, scores.answer
    edges = np.unique(np.quantile(answer, np.arange(1, n_groups) / n_groups, method="inverted_cdf"))
    which = np.searchsorted(edges, answer, side="left")
    total, reached, found = float(truth.sum()), 0.0, []
    for k in range(len(edges), -1, -1):
        own = which == k
        if not own.any():
            continue
        reached += float(truth[own].sum())
        found.append(_group(truth[own], answer[own], reached / total if total > 0 else float("nan")))
    return found


def below_quantiles(scores: NumberScores) -> list[dict[str, float]]:
    """Return for each level which share of the truths lies at or below its quantile, with its 95 % interval."""
    found = []
    for level, quantile in sorted(scores.quantiles.items()):
        inside = wilson(float((scores.truth <= quantile).sum()), len(quantile))
        found.append({"level": level, "share": inside.value, "low": inside.low, "high": inside.high})
    return found


def _group(truth: np.ndarray, answer: np.ndarray, share: float) -> Group:
    mean = float(truth.mean())
    half = _Z * float(truth.std(ddof=1)) / len(truth) ** 0.5 if len(truth) > 1 else float("nan")
    return Group(
        len(truth), float(answer.min()), float(answer.max()), float(answer.mean()), mean, mean - half, mean + half,
        float(np.abs(answer - truth).mean()), share,
    )  # fmt: skip


def _floats(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
