"""Running rates: how often this value, this entity, and this entity with this value, were positive before.

For two labels. Rates are smoothed towards the rate of all events and joined, as log-odds, by a logistic regression.
Rates of the entity need the labels of earlier events, and are read only where the network reads them too. The rate of
a value is counted without the event itself in training, so that a rare value does not give its own label away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.tags.tagged import UNLABELLED, Tagged, Tags
from habitus.errors import require

_SMOOTHING = 5.0  # events that a rate begins with
_STRENGTH = 1.0


class RunningRates(Rival):
    """Judge by smoothed rates of the value and of the entity so far.

    Args:
        label_history: read the labels of earlier events.

    >>> RunningRates().name
    'running rates + logistic regression'
    """

    name: ClassVar[str] = "running rates + logistic regression"

    def __init__(self, label_history: bool = False) -> None:
        self.label_history = label_history

    def fit(self, train_rows: Tagged, validation_rows: Tagged) -> Self:
        """Count the rates of values and learn how they join."""
        is_labelled = train_rows.labels != UNLABELLED
        positive = _positive(train_rows)
        self.prior_ = float((positive.sum() + 1) / (is_labelled.sum() + 2))
        self.counts_: dict[str, np.ndarray] = {}
        self.hits_: dict[str, np.ndarray] = {}
        for name, ids in train_rows.histories.ids.items():
            self.counts_[name] = np.bincount(ids, is_labelled)
            self.hits_[name] = np.bincount(ids, positive)
        features = self._features(train_rows, without_itself=True)[is_labelled]
        self.center_, scale = features.mean(axis=0), features.std(axis=0)
        self.scale_ = np.where(scale > 1e-9, scale, 1.0)
        linear = require("sklearn.linear_model", "baselines")
        solver = linear.LogisticRegression(C=_STRENGTH, max_iter=200)
        solver.fit((features - self.center_) / self.scale_, positive[is_labelled])
        self.coef_, self.intercept_ = solver.coef_[0], np.asarray(solver.intercept_, dtype=np.float64)
        return self

    def answer(self, rows: Tagged) -> Tags:
        """Return the probabilities of both labels."""
        score = (self._features(rows) - self.center_) / self.scale_ @ self.coef_ + self.intercept_[0]
        probability = 1 / (1 + np.exp(-score))
        return Tags.likeliest(np.stack([1 - probability, probability], axis=1))

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the counts and coefficients."""
        names = list(self.counts_)
        arrays: dict[str, np.ndarray] = {f"counts_{i}": self.counts_[name] for i, name in enumerate(names)}
        arrays |= {f"hits_{i}": self.hits_[name] for i, name in enumerate(names)}
        arrays |= {"coef": self.coef_, "intercept": self.intercept_, "center": self.center_, "scale": self.scale_}
        return arrays, {"fields": names, "prior": self.prior_, "label_history": self.label_history}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = cls(document["label_history"])
        rival.prior_ = document["prior"]
        rival.counts_ = {name: np.asarray(arrays[f"counts_{i}"]) for i, name in enumerate(document["fields"])}
        rival.hits_ = {name: np.asarray(arrays[f"hits_{i}"]) for i, name in enumerate(document["fields"])}
        for name in ("coef", "intercept", "center", "scale"):
            setattr(rival, f"{name}_", np.asarray(arrays[name]))
        return rival

    def _features(self, rows: Tagged, *, without_itself: bool = False) -> np.ndarray:
        """Return what the regression reads, float64 (E, k)."""
        known, positive, unit = rows.labels != UNLABELLED, _positive(rows), rows.unit
        columns: list[np.ndarray] = []
        for name, ids in rows.histories.ids.items():
            place = np.minimum(ids, len(self.counts_[name]) - 1)
            is_counted = ids < len(self.counts_[name])
            n, hits = self.counts_[name][place] * is_counted, self.hits_[name][place] * is_counted
            if without_itself:
                n, hits = n - known, hits - positive
            columns.append(self._log_odds(n, hits))
        for values in rows.histories.numbers.values():
            columns += [values[:, 0], values[:, 1]]
        if self.label_history:
            columns += self._running(unit, known, positive)
            for ids in rows.histories.ids.values():
                columns += self._running(unit * (int(ids.max(initial=0)) + 1) + ids, known, positive)
        return np.stack([*columns, np.zeros(len(unit))], axis=1).astype(np.float64)  # a log may have no field at all

    def _running(self, group: np.ndarray, known: np.ndarray, positive: np.ndarray) -> list[np.ndarray]:
        """Return the log-odds so far within groups, how many labels they rest on, and the label before."""
        n, hits, last = before(group, known.astype(np.float64), positive)
        return [self._log_odds(n, hits), np.log1p(n), last]

    def _log_odds(self, n: np.ndarray, hits: np.ndarray) -> np.ndarray:
        rate = (hits + _SMOOTHING * self.prior_) / (n + _SMOOTHING)
        odds: np.ndarray = np.log(rate / (1 - rate))
        return odds


def before(group: np.ndarray, known: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the labels and the positive ones of each group before each event, and say the sign of the last.

    The sign is 1 for a positive label, -1 for another one, 0 for none.

    >>> known, positive = np.array([1.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    >>> [part.tolist() for part in before(np.array([7, 8, 7, 7]), known, positive)]
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    """
    order = np.argsort(group, kind="stable")
    sorted_group = group[order]
    is_new = np.ones(len(group), dtype=bool)
    is_new[1:] = sorted_group[1:] != sorted_group[:-1]
    sign = np.where(known[order] > 0, 2 * positive[order] - 1, 0.0)
    found = []
    for values in (known[order], positive[order]):
        total = np.cumsum(values) - values
        start = np.maximum.accumulate(np.where(is_new, np.arange(len(group)), 0))
        found.append(total - total[start])
    found.append(np.where(is_new, 0.0, np.roll(sign, 1)))
    back = np.empty(len(group), dtype=np.int64)
    back[order] = np.arange(len(group))
    n, hits, last = (values[back] for values in found)
    return n, hits, last


def _positive(rows: Tagged) -> np.ndarray:
    return (rows.labels == 1).astype(np.float64)
