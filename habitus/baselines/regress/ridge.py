"""Bag of events + ridge regression: the linear rival, easy to explain.

log(1 + count) of every value, aggregates and (unless logarithms are learned) totals, in a linear model with an L2
penalty whose strength is chosen on the validation rows. It fits means on the scale of the aim; the median or the
quantiles come from the residuals of the validation rows, added to it: the same distance from everybody's centre.
Predictions are a dot product in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from habitus.baselines.bag import BagFeatures
from habitus.baselines.base import State
from habitus.baselines.matrix import LinearMatrix
from habitus.baselines.regress.aim import Aim, mean_factor, with_factor
from habitus.baselines.regress.base import numbers_of
from habitus.data.encode import EncodedSequences
from habitus.errors import require

ALPHAS = (10_000.0, 3_000.0, 1_000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)  # strong L2 first
ALPHA_WITHOUT_VALIDATION = 30.0


class BagRidge:
    """Counts, aggregates and totals in a ridge regression.

    Args:
        alphas: strengths of the penalty, descending; tried until the validation error rises.

    >>> BagRidge(alphas=[10.0, 1.0]).name
    'bag + ridge regression'
    """

    name = "bag + ridge regression"

    def __init__(self, alphas: Sequence[float] = ALPHAS) -> None:
        self.alphas = alphas

    def fit(self, train: EncodedSequences, validation: EncodedSequences, sizes: dict[str, int], aim: Aim) -> BagRidge:
        """Fit with each strength in turn, keep the best on `validation`, and learn the residuals there."""
        self.aim_ = aim
        # A logarithm is not linear in a total: exp of it would run off for whoever has bought most.
        self.matrix_ = LinearMatrix.fit(BagFeatures.of(train, sizes, totals=not aim.log), train)
        x, y = self.matrix_.of(train), aim.to_scale(numbers_of(train))
        checked = validation if len(validation) else train
        x_checked, target = self.matrix_.of(checked), numbers_of(checked)
        y_checked = aim.to_scale(target)
        alphas = self.alphas if len(validation) else (ALPHA_WITHOUT_VALIDATION,)
        self.coef_, self.intercept_ = choose_ridge(x, y, x_checked, y_checked, alphas)
        residual = y_checked - (x_checked @ self.coef_ + self.intercept_)
        self.offsets_ = np.zeros(1) if aim.loss == "squared" else np.quantile(residual, aim.levels or (0.5,))
        self.factor_ = 1.0
        self.factor_ = mean_factor(aim, target, self.predict(checked))
        return self

    def predict(self, encoded: EncodedSequences) -> np.ndarray:
        """Return answers in the target's unit, (n, Q)."""
        scaled = (self.matrix_.of(encoded) @ self.coef_ + self.intercept_)[:, None] + self.offsets_
        return with_factor(self.aim_.to_unit(scaled), self.factor_)

    def to_state(self) -> State:
        """Return coefficients and scaling, and the columns as a document."""
        matrix = self.matrix_
        tensors = {"coef": self.coef_, "offsets": self.offsets_, "center": matrix.center, "scale": matrix.scale}
        document = {
            "features": matrix.features.to_json(),
            "aim": self.aim_.to_json(),
            "intercept": self.intercept_,
            "factor": self.factor_,
        }
        return tensors, document

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> BagRidge:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.coef_, baseline.offsets_ = np.asarray(tensors["coef"]), np.asarray(tensors["offsets"])
        baseline.intercept_, baseline.factor_ = float(document["intercept"]), float(document["factor"])
        baseline.aim_ = Aim.from_json(document["aim"])
        features = BagFeatures.from_json(document["features"])
        baseline.matrix_ = LinearMatrix(features, np.asarray(tensors["center"]), np.asarray(tensors["scale"]))
        return baseline


def choose_ridge(
    x: Any, y: np.ndarray, x_validation: Any, y_validation: np.ndarray, alphas: Sequence[float] = ALPHAS
) -> tuple[np.ndarray, float]:
    """Return coefficients (F,) and intercept of the ridge regression that is best on validation rows.

    Strengths are tried in their order until the error rises. Needs scikit-learn.
    """
    linear, best = require("sklearn.linear_model", "train"), np.inf
    coef, intercept = np.zeros(x.shape[1]), float(y.mean())
    for alpha in alphas:
        ridge = linear.Ridge(alpha=alpha, solver="sparse_cg").fit(x, y)
        error = float(((ridge.predict(x_validation) - y_validation) ** 2).mean()) if len(y_validation) else 0.0
        if error >= best:
            break
        best, coef, intercept = error, np.asarray(ridge.coef_, dtype=np.float64), float(ridge.intercept_)
    return coef, intercept
