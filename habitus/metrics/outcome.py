"""Read targets and probabilities once, at the edge; inside, every kind of classification has one shape.

Binary is one column; multi-class is one column per class (one against the rest); multi-label is one column per
label. What cannot be judged (a NaN probability, a class number out of range, rows that do not sum to 1) is refused.
Knows nothing about metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from habitus.errors import DataError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Kind = Literal["binary", "multi-class", "multi-label"]
SUM_TOLERANCE = 1e-3  # float16 softmax rows are off by up to this much


@dataclass(frozen=True)
class Outcome:
    """Hold what was true and what was predicted, checked.

    Args:
        kind: which of the three classifications it is.
        truth: (n, C); one column for binary.
        probability: (n, C).
        epsilon: resolution of the probabilities as they were given; the log-loss keeps this far from 0 and 1.
    """

    kind: Kind
    truth: Bools
    probability: Floats
    epsilon: float

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.truth)

    def by_score(self) -> Outcome:
        """Return the rows in order of falling first probability (stable), which lets a bootstrap skip gathering."""
        order = np.argsort(-self.probability[:, 0], kind="stable")
        return Outcome(self.kind, self.truth[order], self.probability[order], self.epsilon)

    def decide(self, threshold: float) -> Bools:
        """Return (n, C) decisions: the likeliest class, or every column with probability >= threshold."""
        if self.kind != "multi-class":
            return np.asarray(self.probability >= threshold)
        # Of equal probabilities the first class wins, as in numpy's argmax.
        return _one_hot(self.probability.argmax(axis=1), self.probability.shape[1])


def read_outcome(
    target: ArrayLike,
    probability: ArrayLike,
    *,
    n_classes: int = 2,
    multi_label: bool = False,
    ranks_only: bool = False,
) -> Outcome:
    """Check a target against its probabilities.

    Args:
        target: class numbers 0..n_classes-1, (n,); for multi-label a 0/1 matrix (n, C).
        probability: (n,) of the positive class for binary, else (n, C).
        n_classes: number of classes; multi-label takes it from the shapes.
        multi_label: every column is a yes/no question of its own.
        ranks_only: accept any finite scores, because only their order will be used.

    Raises:
        DataError: if the two cannot be judged.

    >>> read_outcome([0, 1], [0.2, 0.9]).truth.tolist()
    [[False], [True]]
    """
    raw = np.asarray(probability)
    kind: Kind = "multi-label" if multi_label else "binary" if n_classes == 2 else "multi-class"
    numbers = _numbers(raw, "probability")
    _check_finite(numbers)
    _check_shape(kind, numbers, n_classes)
    labels = _labels(target, 2 if multi_label else n_classes)
    wanted = numbers.shape if multi_label else numbers.shape[:1]
    if labels.shape != wanted:
        raise DataError(
            f"target has shape {labels.shape} for probabilities of shape {numbers.shape}; it must be {wanted}."
        )
    if not ranks_only:
        _check_probabilities(kind, numbers)
    columns = numbers[:, None] if kind == "binary" else numbers
    truth = _one_hot(labels, n_classes) if kind == "multi-class" else labels.reshape(columns.shape).astype(bool)
    epsilon = float(np.finfo(raw.dtype if raw.dtype.kind == "f" else np.float64).eps)
    return Outcome(kind, truth, columns, epsilon)


def read_scores(target: ArrayLike, score: ArrayLike) -> tuple[Bools, Floats]:
    """Check a binary target against any finite scores; return both as (n,).

    >>> read_scores([0, 1], [-3, 8.5])[1].tolist()
    [-3.0, 8.5]
    """
    outcome = read_outcome(target, score, ranks_only=True)
    return outcome.truth[:, 0], outcome.probability[:, 0]


def degenerate_note(target: ArrayLike, *, n_classes: int = 2, multi_label: bool = False) -> str | None:
    """Return a sentence that says why some metrics are undefined on this target, or None if none is.

    >>> degenerate_note([0, 0, 0])
    'All 3 rows are of class 0: AUC, PR-AUC, KS and Gini are undefined; judge on rows of both classes.'
    >>> degenerate_note([0, 1])
    """
    labels = _labels(target, 2 if multi_label else n_classes)
    if len(labels) < 2:
        return f"{len(labels)} rows cannot be judged: every metric is undefined; give at least 2 rows."
    if not multi_label and n_classes == 2:
        seen = np.unique(labels)
        if len(seen) == 2:
            return None
        return (
            f"All {len(labels)} rows are of class {seen[0]}: AUC, PR-AUC, KS and Gini are undefined; "
            "judge on rows of both classes."
        )
    share = labels.mean(axis=0) if multi_label else np.bincount(labels, minlength=n_classes) / len(labels)
    columns = [str(column) for column in np.flatnonzero((share == 0) | (share == 1))]
    if not columns:
        return None
    return (
        f"{'Labels' if multi_label else 'Classes'} {', '.join(columns)} are always or never true in {len(labels)} "
        "rows: they are left out of the averages of AUC, PR-AUC, KS and Gini."
    )


def _one_hot(codes: NDArray[np.intp] | NDArray[np.int64], n_classes: int) -> Bools:
    return np.asarray(codes[:, None] == np.arange(n_classes))


def _numbers(values: NDArray[np.generic], name: str) -> Floats:
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name} has values of type {values.dtype}; give numbers (a float array).")
    return values.astype(np.float64)


def _labels(target: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    raw = np.asarray(target)
    if raw.dtype.kind not in "fiub" and raw.size:
        raise DataError(f"target has values of type {raw.dtype}; give class numbers 0 to {n_classes - 1}.")
    numbers = raw.astype(np.float64)
    wrong = numbers[~np.isin(numbers, np.arange(n_classes))]
    if wrong.size:
        raise DataError(
            f"target holds {wrong.flat[0]:g} ({wrong.size} values like it); give class numbers 0 to {n_classes - 1} "
            "and leave out the rows that have no target."
        )
    return numbers.astype(np.int64)


def _check_finite(numbers: Floats) -> None:
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise DataError(
            f"{int(bad.sum())} probabilities are NaN or infinite, the first in row {row}; a model that says nothing "
            "cannot be judged. Look for NaN in the model's inputs or weights."
        )


def _check_shape(kind: Kind, numbers: Floats, n_classes: int) -> None:
    if kind == "binary" and numbers.ndim != 1:
        raise DataError(f"probability has shape {numbers.shape}; for two classes give (n,), the positive class only.")
    if kind == "multi-class" and (numbers.ndim != 2 or numbers.shape[1] != n_classes):
        raise DataError(f"probability has shape {numbers.shape}; for n_classes={n_classes} give (n, {n_classes}).")
    if kind == "multi-label" and numbers.ndim != 2:
        raise DataError(f"probability has shape {numbers.shape}; for multi_label=True give (n, number of labels).")


def _check_probabilities(kind: Kind, numbers: Floats) -> None:
    if numbers.size and (numbers.min() < 0 or numbers.max() > 1):
        raise DataError(
            f"probabilities run from {numbers.min():g} to {numbers.max():g}; they must lie between 0 and 1 "
            "(put logits through a sigmoid or softmax)."
        )
    if kind == "multi-class":
        sums = numbers.sum(axis=1)
        off = np.abs(sums - 1) > SUM_TOLERANCE
        if off.any():
            row = int(off.argmax())
            raise DataError(
                f"the probabilities of row {row} sum to {sums[row]:g}, not to 1; "
                "use a softmax, or multi_label=True if several classes can be true at once."
            )
