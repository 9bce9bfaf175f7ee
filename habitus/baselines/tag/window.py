"""A logistic regression over the values of an event and of its neighbours: tagging without a state.

The features of a maximum-entropy tagger (Ratnaparkhi 1996, https://aclanthology.org/W96-0213): every value of the
event, of the one before, and, where later events may be read, of the one after. Differs from the paper in that earlier
tags are features only where they are known, with a label history.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.tags.tagged import UNLABELLED, Tagged, Tags
from habitus.errors import require

_STRENGTH, _MAX_ITERATIONS = 3.0, 30
_MOST_EVENTS = 40_000  # learned from; every further one costs time and adds little
_MOST_VALUES, _MOST_OF_NEIGHBOURS = 20_000, 2_000  # of a field, the most frequent ones


class WindowLogistic(Rival):
    """Classify each event by one-hot values in a window.

    Args:
        look_ahead: read the event after.
        label_history: read the label of the event before.

    >>> WindowLogistic().name
    'window + logistic regression'
    """

    name: ClassVar[str] = "window + logistic regression"

    def __init__(self, look_ahead: bool = False, label_history: bool = False) -> None:
        self.look_ahead, self.label_history = look_ahead, label_history

    def fit(self, train_rows: Tagged, validation_rows: Tagged) -> Self:
        """Fit on the labelled events; of very many on a share drawn by whole sequences."""
        share = min(1.0, _MOST_EVENTS / max(train_rows.n_labelled, 1))
        n = max(1, round(share * len(train_rows)))
        rows = train_rows.take(np.sort(np.random.default_rng(0).permutation(len(train_rows))[:n]))
        sizes = {name: int(ids.max(initial=0)) + 1 for name, ids in rows.histories.ids.items()}
        self.sizes_ = {name: min(size, _MOST_VALUES) for name, size in sizes.items()}
        self.n_labels_ = rows.n_known
        labelled = np.flatnonzero(rows.labels != UNLABELLED)
        linear = require("sklearn.linear_model", "baselines")
        solver = linear.LogisticRegression(C=_STRENGTH, max_iter=_MAX_ITERATIONS, tol=1e-3)
        with warnings.catch_warnings():  # that the solver stopped at its last iteration: it is stopped early on purpose
            warnings.simplefilter("ignore")
            solver.fit(self._matrix(rows)[labelled], rows.labels[labelled])
        present = solver.classes_.astype(np.int64)
        coef, intercept = solver.coef_.astype(np.float32), solver.intercept_.astype(np.float32)
        if len(present) == 2:  # scikit-learn keeps one line for two labels
            coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
        self.present_, self.coef_, self.intercept_ = present, coef, intercept
        return self

    def answer(self, rows: Tagged) -> Tags:
        """Return the probabilities of all labels."""
        score = self._matrix(rows) @ self.coef_.T + self.intercept_
        score = np.exp(score - score.max(axis=1, keepdims=True, initial=-np.inf))
        probability = np.zeros((len(rows.labels), self.n_labels_), dtype=np.float32)
        probability[:, self.present_] = score / score.sum(axis=1, keepdims=True)
        return Tags.likeliest(probability)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the coefficients."""
        arrays = {"present": self.present_, "coef": self.coef_, "intercept": self.intercept_}
        document = {"sizes": list(self.sizes_.items()), "n_labels": self.n_labels_}
        return arrays, {**document, "look_ahead": self.look_ahead, "label_history": self.label_history}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = cls(document["look_ahead"], document["label_history"])
        rival.sizes_, rival.n_labels_ = dict(document["sizes"]), document["n_labels"]
        for name in ("present", "coef", "intercept"):
            setattr(rival, f"{name}_", np.asarray(arrays[name]))
        return rival

    def _matrix(self, rows: Tagged) -> Any:
        """Return one-hot values at the event and around it, sparse (E, F); column 0 of a block: nothing there."""
        sparse = require("scipy.sparse", "baselines")
        unit, columns, offset = rows.unit, [], 0
        for name, size in self.sizes_.items():
            ids = rows.histories.ids[name].astype(np.int64)
            of_neighbours = min(size, _MOST_OF_NEIGHBOURS)
            around = [(shifted(ids, unit, by), of_neighbours) for by in ((1, -1) if self.look_ahead else (1,))]
            for values, most in ((ids, size), *around):
                columns.append(np.where(values < most, values, 0) + offset)
                offset += most
        if self.label_history:
            labels = np.where(rows.labels < self.n_labels_, rows.labels, UNLABELLED).astype(np.int64) + 1
            columns.append(shifted(labels, unit, 1) + offset)
            offset += self.n_labels_ + 1
        numbers = [values.astype(np.float32) for values in rows.histories.numbers.values()]
        index = np.stack(columns, axis=1) if columns else np.zeros((len(unit), 0), dtype=np.int64)
        n, k = index.shape
        one_hot = sparse.csr_matrix((np.ones(n * k, np.float32), index.ravel(), np.arange(n + 1) * k), (n, offset))
        dense = np.concatenate([*numbers, np.zeros((n, 1), np.float32)], axis=1)
        return sparse.hstack([one_hot, sparse.csr_matrix(dense)], format="csr")


def shifted(values: np.ndarray, unit: np.ndarray, by: int) -> np.ndarray:
    """Return the value of the event `by` places before each one in its sequence; 0 where there is none.

    >>> shifted(np.array([5, 6, 7]), np.array([0, 0, 1]), 1).tolist()
    [0, 5, 0]
    """
    moved = np.roll(values, by)
    inside = np.roll(unit, by) == unit
    inside[slice(None, by) if by > 0 else slice(by, None)] = False  # what was rolled around the ends
    return np.where(inside, moved, 0)
