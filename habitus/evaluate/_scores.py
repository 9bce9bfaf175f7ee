"""From the scores file of a run to the curves of its report, in NumPy.

Binary, multi-class and multi-label scores are brought to one shape: truth (n, C) and a score (n, C) for each model,
where C is 1 for a binary target. Curves are one-vs-rest columns of that shape. Knows nothing about drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from habitus.errors import DataError

MODEL = "probability"
UNCALIBRATED = "probability_uncalibrated"
Kind = Literal["binary", "multi-class", "multi-label"]
_MAX_CURVE_POINTS = 240


@dataclass(frozen=True)
class Scores:
    """What each model said about each test example, and what was true."""

    kind: Kind
    labels: list[str]  # C of them; the positive one alone for a binary target
    truth: np.ndarray  # (n, C) bool
    models: dict[str, np.ndarray]  # name -> (n, C); the model itself comes first, as MODEL
    uncalibrated: np.ndarray | None  # (n, C): the model's scores before calibration
    n_unusable: int  # rows left out: no target, or a score that is not a number


@dataclass(frozen=True)
class Bin:
    """Examples of similar score: their mean score and how often the target was true, with a 95 % interval."""

    n: int
    n_true: int
    lowest: float
    highest: float
    mean: float
    rate: float
    low: float
    high: float


def read_scores(
    path: Path, target: str | Sequence[str], labels: Sequence[str], rivals: Iterable[str] = ()
) -> Scores | None:
    """Read `test_scores.parquet`; None if it holds no probabilities (another task than classification).

    Args:
        path: a row for each example. A binary score is a column named after its model (`probability` for the model
            itself); several classes or labels have a column `<model>_<label>` each, or one list column.
        target: the column of the target, or one 0/1 column for each label; a column `target` will do too.
        labels: the classes, the positive one last where there are two; read from the file if empty.
        rivals: names of other models; further columns of floats between 0 and 1 are taken as rivals too.
    """
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"'{path}' cannot be read as Parquet ({error}); evaluate the model again.") from error
    truth = _read_truth(frame, target, [str(label) for label in labels])
    if truth is None:
        return None
    kind, names, true, known = truth
    rivals = [*dict.fromkeys(rivals), *_unnamed_rivals(frame, target)]
    models = {name: score for name in [MODEL, *rivals] if (score := _score(frame, name, names, kind)) is not None}
    if MODEL not in models:
        return None
    usable = known & np.all([np.isfinite(score).all(axis=1) for score in models.values()], axis=0)
    before = _score(frame, UNCALIBRATED, names, kind)
    before = before if before is None else before[usable]
    models = {name: score[usable] for name, score in models.items()}
    return Scores(kind, names, true[usable], models, before, int((~usable).sum())) if usable.any() else None


def roc(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false-positive and true-positive rates at every distinct score, thinned for drawing.

    >>> roc(np.array([True, False]), np.array([0.9, 0.1]))
    (array([0., 0., 1.]), array([0., 1., 1.]))
    """
    true, false = _counts_above(truth, score)
    x, y = false / max(false[-1], 1), true / max(true[-1], 1)
    return _thinned(np.r_[0.0, x], np.r_[0.0, y])


def precision_recall(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision at every distinct score, thinned for drawing.

    >>> precision_recall(np.array([True, False]), np.array([0.9, 0.1]))
    (array([1., 1.]), array([1. , 0.5]))
    """
    true, false = _counts_above(truth, score)
    found = true > 0  # before the first true one precision is 0 and says nothing
    return _thinned(true[found] / max(true[-1], 1), (true / (true + false))[found])


def bins(truth: np.ndarray, score: np.ndarray, n_bins: int = 10) -> list[Bin]:
    """Cut examples into bins of about equal size by score, lowest first; equal scores stay together.

    >>> [(b.n, b.rate) for b in bins(np.array([0, 0, 1, 1]) > 0, np.array([0.1, 0.1, 0.8, 0.9]), n_bins=2)]
    [(2, 0.0), (2, 1.0)]
    """
    edges = np.unique(np.quantile(score, np.arange(1, n_bins) / n_bins, method="inverted_cdf"))
    which = np.searchsorted(edges, score, side="left")
    return [_bin(truth[which == k], score[which == k]) for k in range(len(edges) + 1) if (which == k).any()]


def wilson(n_true: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % Wilson (1927) score interval of a share.

    >>> tuple(round(end, 3) for end in wilson(0, 10))
    (0.0, 0.278)
    """
    share, spread = n_true / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def confusion(scores: Scores, threshold: float = 0.5) -> dict[str, Any]:
    """Count truth against answer: the likeliest class, or whether the score reaches `threshold`."""
    score = scores.models[MODEL]
    if scores.kind == "multi-class":
        matrix = np.zeros((len(scores.labels), len(scores.labels)), dtype=int)
        np.add.at(matrix, (scores.truth.argmax(axis=1), score.argmax(axis=1)), 1)
        return {"labels": scores.labels, "matrix": matrix.tolist()}
    said, truth = score >= threshold, scores.truth
    cells = {"tp": said & truth, "fp": said & ~truth, "fn": ~said & truth, "tn": ~said & ~truth}
    count = {name: cell.sum(axis=0) for name, cell in cells.items()}
    if scores.kind == "binary":
        tp, fp, fn, tn = (int(count[name][0]) for name in ("tp", "fp", "fn", "tn"))
        return {"labels": ["no", "yes"], "matrix": [[tn, fp], [fn, tp]], "threshold": threshold}
    rows = [{"label": label, **{name: int(count[name][c]) for name in count}} for c, label in enumerate(scores.labels)]
    return {"per_label": rows, "threshold": threshold}


def _read_truth(
    frame: pl.DataFrame, target: str | Sequence[str], labels: list[str]
) -> tuple[Kind, list[str], np.ndarray, np.ndarray] | None:
    """Return kind, labels (C), truth (n, C) and which rows have a target; None if the file has no target."""
    if not isinstance(target, str):
        values = [frame[name].cast(pl.Float64, strict=False).to_numpy() for name in target if name in frame.columns]
        if not values:
            return None
        flags = np.stack(values, axis=1)
        return "multi-label", list(target), flags > 0.5, np.isfinite(flags).all(axis=1)
    found = next((frame[name] for name in (target, "target") if name in frame.columns), None)
    if found is None:
        return None
    known = found.is_not_null().to_numpy()
    labels = labels or [str(value) for value in found.drop_nulls().unique().sort().to_list()]
    if isinstance(found.dtype, pl.List):  # of the labels that hold
        held = [found.list.contains(label).fill_null(False).to_numpy() for label in labels]
        return "multi-label", labels, np.stack(held, axis=1), known
    kind: Kind = "binary" if MODEL in frame.columns and frame[MODEL].dtype.is_numeric() else "multi-class"
    labels = labels[-1:] if kind == "binary" else labels
    return kind, labels, np.stack([_holds(found, label) for label in labels], axis=1), known


def _holds(target: pl.Series, label: str) -> np.ndarray:
    """Compare a target with a class's name, by value where both are numbers (1, 1.0 and "1" are one class)."""
    if target.dtype == pl.Boolean:
        target = target.cast(pl.Int8)
        label = {"true": "1", "false": "0"}.get(label.lower(), label)
    if target.dtype.is_numeric():
        number = pl.Series([label]).cast(pl.Float64, strict=False)[0]
        return (target.cast(pl.Float64) == number).fill_null(False).to_numpy()
    return (target.cast(pl.String) == label).fill_null(False).to_numpy()


def _unnamed_rivals(frame: pl.DataFrame, target: str | Sequence[str]) -> list[str]:
    taken = {MODEL, UNCALIBRATED, "target", *([target] if isinstance(target, str) else target)}
    floats = [name for name, kind in frame.schema.items() if kind.is_float() and name not in taken]
    return [name for name in floats if frame[name].is_between(0, 1).all()]


def _score(frame: pl.DataFrame, name: str, labels: list[str], kind: Kind) -> np.ndarray | None:
    """Return a model's scores (n, C), or None where it has none of this shape."""
    if kind == "binary":
        has_one = name in frame.columns and frame[name].dtype.is_numeric()
        return frame[name].cast(pl.Float64).to_numpy()[:, None] if has_one else None
    if name in frame.columns and isinstance(frame[name].dtype, pl.List):  # in the order of the labels
        rows = np.array([row or [np.nan] * len(labels) for row in frame[name].to_list()], float)
        return rows if rows.shape == (frame.height, len(labels)) else None
    columns = [f"{name}_{label}" for label in labels]
    if not set(columns) <= set(frame.columns):
        return None
    return np.stack([frame[column].cast(pl.Float64).to_numpy() for column in columns], axis=1)


def _counts_above(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last_of_tie = np.r_[np.flatnonzero(np.diff(score)), len(score) - 1]
    true = np.cumsum(truth)[last_of_tie]
    return true.astype(float), (last_of_tie + 1 - true).astype(float)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep points evenly spread along the curve, so that a million examples draw as few points as a thousand."""
    if len(x) <= _MAX_CURVE_POINTS:
        return x, y
    along = np.r_[0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    keep = np.unique(np.r_[0, np.searchsorted(along, np.linspace(0, along[-1], _MAX_CURVE_POINTS)), len(x) - 1])
    keep = keep[keep < len(x)]
    return x[keep], y[keep]


def _bin(truth: np.ndarray, score: np.ndarray) -> Bin:
    n, n_true = len(truth), int(truth.sum())
    low, high = wilson(n_true, n)
    return Bin(n, n_true, float(score.min()), float(score.max()), float(score.mean()), n_true / n, low, high)
