"""From probabilities to decisions: the threshold, who was mistaken for whom, and how each class fares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from habitus.errors import ConfigError, DataError, did_you_mean
from habitus.metrics.delong import auc_interval
from habitus.metrics.intervals import Interval, bootstrap_interval, wilson
from habitus.metrics.measures import shares
from habitus.metrics.outcome import Floats, read_outcome
from habitus.metrics.ranked import Ranked

Goal = Literal["f1", "ks", "accuracy", "cost"]


def choose_threshold(
    target: ArrayLike,
    probability: ArrayLike,
    goal: Goal = "f1",
    *,
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
) -> float:
    """Return the threshold that serves the goal best on these rows; say "positive" when probability >= threshold.

    Choose it on validation rows: on the rows it was chosen on, the metric looks better than it is.

    Args:
        target: 0 or 1, (n,), both present.
        probability: of the positive class, (n,).
        goal: `f1`; `ks` (recall minus false alarm rate, the best for equal class weights); `accuracy`;
            `cost` (least total cost of the two mistakes).
        false_positive_cost: for `cost`; of flagging a negative.
        false_negative_cost: for `cost`; of missing a positive.

    Returns:
        One of the probabilities, or a number just above the highest when it is best to flag nothing.

    >>> choose_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.35
    >>> choose_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], "cost", false_positive_cost=10)
    0.8
    """
    if goal not in get_args(Goal):
        raise ConfigError(f"goal='{goal}' is not known; {did_you_mean(goal, get_args(Goal))}")
    outcome = read_outcome(target, probability)
    if not outcome.truth.any() or outcome.truth.all():
        raise DataError("A threshold needs rows of both classes; these hold one. Give rows of both.")
    column = Ranked.of(outcome.truth[:, 0], outcome.probability[:, 0])
    sums = column.sums(np.ones((1, outcome.n)))
    flagged, hits = np.append(0, sums.rows[0]), np.append(0, sums.positives[0])
    n_positive = hits[-1]
    mistakes = (flagged - hits, n_positive - hits)
    worth: dict[str, Floats] = {
        "f1": 2 * hits / (flagged + n_positive),
        "ks": hits / n_positive - mistakes[0] / (outcome.n - n_positive),
        "accuracy": -mistakes[0] - mistakes[1],
        "cost": -false_positive_cost * mistakes[0] - false_negative_cost * mistakes[1],
    }
    levels = outcome.probability[column.order[column.ends], 0]
    return float(np.append(np.nextafter(levels[0], np.inf), levels)[int(worth[goal].argmax())])


def confusion_matrix(target: ArrayLike, prediction: ArrayLike, n_classes: int = 2) -> NDArray[np.int64]:
    """Count rows by (true class, predicted class), (C, C); the diagonal is right.

    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1]).tolist()
    [[1, 1], [0, 2]]
    """
    pairs = [np.asarray(given) for given in (target, prediction)]
    if pairs[0].ndim != 1 or pairs[0].shape != pairs[1].shape:
        raise DataError(
            f"target has shape {pairs[0].shape}, prediction {pairs[1].shape}; give two lists of one length."
        )
    for name, codes in zip(("target", "prediction"), pairs, strict=True):
        if not np.isin(codes, np.arange(n_classes)).all():
            raise DataError(f"{name} holds something other than class numbers 0 to {n_classes - 1}.")
    true, predicted = (codes.astype(np.int64) for codes in pairs)
    return np.bincount(true * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


@dataclass(frozen=True)
class ClassRow:
    """Say how one class (or label) fares; `n` rows are truly of it, `n_predicted` were said to be.

    >>> unknown = Interval.undefined()
    >>> ClassRow("spam", 0, 0, unknown, unknown, unknown, unknown).to_json()["recall"]
    {'value': None, 'low': None, 'high': None}
    """

    name: str
    n: int
    n_predicted: int
    precision: Interval
    recall: Interval
    f1: Interval
    auc: Interval

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        counts = {"name": self.name, "n": self.n, "n_predicted": self.n_predicted}
        return counts | {key: getattr(self, key).to_json() for key in ("precision", "recall", "f1", "auc")}


def classification_report(
    target: ArrayLike,
    probability: ArrayLike,
    *,
    n_classes: int = 2,
    multi_label: bool = False,
    threshold: float = 0.5,
    names: Sequence[str] | None = None,
    n_bootstrap: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[ClassRow]:
    """Return precision, recall (Wilson), F1 (bootstrap) and one-vs-rest AUC (DeLong) of every class.

    Two classes give two rows, 0 then 1. Arguments as in `classification_metrics`; `names` are printed for the classes.

    >>> [row.name for row in classification_report([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], names=["good", "bad"])]
    ['good', 'bad']
    """
    outcome = read_outcome(target, probability, n_classes=n_classes, multi_label=multi_label)
    truth, decision, score = outcome.truth, outcome.decide(threshold), outcome.probability
    if outcome.kind == "binary":
        truth, decision = np.hstack([~truth, truth]), np.hstack([~decision, decision])
        score = np.hstack([-score, score])
    labels = [str(number) for number in range(truth.shape[1])] if names is None else list(names)
    if len(labels) != truth.shape[1]:
        raise ConfigError(f"names has {len(labels)} entries for {truth.shape[1]} classes; give one per class.")
    random = np.random.default_rng(seed)
    rows = []
    for column, name in enumerate(labels):
        true, said = truth[:, column], decision[:, column]
        hits, n, flagged = int((true & said).sum()), int(true.sum()), int(said.sum())
        rows.append(
            ClassRow(
                name,
                n,
                flagged,
                wilson(hits, flagged, confidence) if flagged or not n else Interval(0.0, 0.0, 1.0),
                wilson(hits, n, confidence),
                _f1(hits, flagged, n, outcome.n, n_bootstrap, random, confidence),
                auc_interval(true, score[:, column], confidence),
            )
        )
    return rows


def _f1(
    hits: int, flagged: int, actual: int, n: int, n_bootstrap: int, random: np.random.Generator, confidence: float
) -> Interval:
    # F1 needs three counts only, so a resample of the rows is one multinomial draw of the four cells.
    value = float(shares(*(np.array([float(count)]) for count in (hits, flagged, actual)))["f1"][0])
    if not n:
        return Interval.undefined()
    cells = np.array([hits, flagged - hits, actual - hits, n - flagged - actual + hits])
    drawn = random.multinomial(n, cells / n, size=n_bootstrap).astype(np.float64)
    draws = shares(drawn[:, 0], drawn[:, 0] + drawn[:, 1], drawn[:, 0] + drawn[:, 2])["f1"]
    return bootstrap_interval(value, draws, confidence)
