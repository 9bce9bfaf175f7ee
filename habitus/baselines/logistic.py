"""Bag of events + logistic regression: the rival that is hard to beat and easy to explain.

log(1 + count) of every value, beside the standardised aggregates of `bag.py`; L2 with the strength chosen on the
validation rows. Predictions are a dot product in float64: a restored baseline gives the same numbers, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from habitus.baselines.bag import BagFeatures
from habitus.baselines.base import State, log_loss, sigmoid, softmax, target_of
from habitus.baselines.matrix import LinearMatrix
from habitus.data.encode import EncodedSequences
from habitus.errors import require

C_WITHOUT_VALIDATION = 0.03
ABSENT_SCORE = -30.0  # of a class that no training example has


class BagLogistic:
    """Counts and aggregates in a logistic regression.

    Args:
        strengths: values of C (small: strong L2), ascending; tried until the validation loss rises.
        max_iterations: of the solver, for each of them.

    >>> BagLogistic(strengths=[0.01, 0.1]).name
    'bag + logistic regression'
    """

    name = "bag + logistic regression"

    def __init__(
        self, strengths: Sequence[float] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), max_iterations: int = 300
    ):
        self.strengths = strengths
        self.max_iterations = max_iterations

    def fit(
        self,
        train: EncodedSequences,
        validation: EncodedSequences,
        sizes: dict[str, int],
        n_classes: int,
        multi_label: bool = False,
    ) -> BagLogistic:
        """Fit with each C in turn and keep the best on `validation`."""
        self.multi_label_ = multi_label
        self.matrix_ = LinearMatrix.fit(BagFeatures.of(train, sizes), train)
        x, y = self.matrix_.of(train), target_of(train, n_classes, multi_label)
        if len(validation) == 0:
            self.C_, (self.coef_, self.intercept_) = C_WITHOUT_VALIDATION, self._solvers(x, y)(C_WITHOUT_VALIDATION)
            return self
        x_validation, y_validation = self.matrix_.of(validation), target_of(validation, n_classes, multi_label)
        solve, best = self._solvers(x, y), np.inf
        for strength in self.strengths:
            coef, intercept = solve(strength)
            loss = log_loss(self._probability(x_validation, coef, intercept), y_validation, multi_label)
            if loss >= best:
                break
            best, self.C_, self.coef_, self.intercept_ = loss, strength, coef, intercept
        return self

    def predict_proba(self, encoded: EncodedSequences) -> np.ndarray:
        """Return probabilities, (n, C)."""
        return self._probability(self.matrix_.of(encoded), self.coef_, self.intercept_)

    def to_state(self) -> State:
        """Return coefficients and scaling, and the columns as a document."""
        matrix = self.matrix_
        tensors = {"coef": self.coef_, "intercept": self.intercept_, "center": matrix.center, "scale": matrix.scale}
        return tensors, {"features": matrix.features.to_json(), "multi_label": self.multi_label_, "C": self.C_}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> BagLogistic:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.coef_, baseline.intercept_ = np.asarray(tensors["coef"]), np.asarray(tensors["intercept"])
        features = BagFeatures.from_json(document["features"])
        baseline.matrix_ = LinearMatrix(features, np.asarray(tensors["center"]), np.asarray(tensors["scale"]))
        baseline.multi_label_, baseline.C_ = document["multi_label"], document["C"]
        return baseline

    def _probability(self, x: Any, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        score = x @ coef.T + intercept
        return sigmoid(score) if self.multi_label_ else softmax(score)

    def _solvers(self, x: Any, y: np.ndarray) -> Any:
        """Return a function C -> (coefficients (C, F), intercepts (C,)) that starts from its last answer."""
        if not self.multi_label_:
            return _Multinomial(x, y, self.max_iterations)
        known = [_known(x, column) for column in y.T]
        labels = [_Multinomial(rows, np.stack([1 - c, c], axis=1), self.max_iterations) for rows, c in known]
        return _OneVersusRest(labels)


class _Multinomial:
    """One softmax over the classes that occur; the score of an absent class is a constant far below."""

    def __init__(self, x: Any, y: np.ndarray, max_iterations: int):
        self.x, self.classes, self.n_classes = x, y.argmax(axis=1), y.shape[1]
        self.present = np.unique(self.classes)
        linear = require("sklearn.linear_model", "baselines")
        self.solver = linear.LogisticRegression(max_iter=max_iterations, warm_start=True)

    def __call__(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        coef, intercept = np.zeros((self.n_classes, self.x.shape[1])), np.full(self.n_classes, ABSENT_SCORE)
        intercept[self.present] = 0.0
        if len(self.present) > 1:
            self.solver.set_params(C=strength).fit(self.x, self.classes)
            scored = self.present[-1:] if len(self.present) == 2 else self.present
            coef[scored], intercept[scored] = self.solver.coef_, self.solver.intercept_
        return coef, intercept


class _OneVersusRest:
    """A binary regression per label, as one matrix of log-odds."""

    def __init__(self, labels: list[_Multinomial]):
        self.labels = labels

    def __call__(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        answers = [solve(strength) for solve in self.labels]
        return np.stack([c[1] - c[0] for c, _ in answers]), np.stack([b[1] - b[0] for _, b in answers])


def _known(x: Any, column: np.ndarray) -> tuple[Any, np.ndarray]:
    known = ~np.isnan(column)
    return (x, column) if known.all() else (x[np.flatnonzero(known)], column[known])
