"""Bag of events + LightGBM for numbers: counts, last values, totals and the profile in gradient-boosted trees.

The trees' objective is the aim's own loss; quantiles take one set of trees a level, and are sorted where they cross
(Chernozhukov et al. 2010, https://doi.org/10.3982/ECTA7880). Saved as LightGBM's text, never as a pickle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.baselines.bag import BagFeatures
from habitus.baselines.base import State
from habitus.baselines.matrix import TreeMatrix
from habitus.baselines.regress.aim import Aim, mean_factor, with_factor
from habitus.baselines.regress.base import numbers_of
from habitus.baselines.trees import Trees, loaded
from habitus.data.encode import EncodedSequences

_OBJECTIVES = {"squared": "regression", "absolute": "regression_l1", "huber": "huber", "quantile": "quantile"}


class BagLightGBMNumbers:
    """Counts, aggregates and totals in gradient-boosted trees, for numbers.

    Args:
        max_counts: how many of the commonest values of a field are counted.
        trees: how they are grown.

    >>> BagLightGBMNumbers(trees=Trees(n_rounds=500)).name
    'bag + LightGBM'
    """

    name = "bag + LightGBM"

    def __init__(self, max_counts: int = 500, trees: Trees | None = None) -> None:
        self.max_counts, self.trees = max_counts, trees or Trees()

    def fit(
        self, train: EncodedSequences, validation: EncodedSequences, sizes: dict[str, int], aim: Aim
    ) -> BagLightGBMNumbers:
        """Boost on `train` until `validation` gets no better; one model per level."""
        self.aim_ = aim
        self.matrix_ = TreeMatrix.fit(BagFeatures.of(train, sizes, totals=True), train, self.max_counts)
        x, y = self.matrix_.of(train), aim.to_scale(numbers_of(train))
        x_validation, y_validation = self.matrix_.of(validation), aim.to_scale(numbers_of(validation))
        objectives = [_objective(aim, level) for level in aim.levels or (0.5,)]
        self.models_ = [self.trees.grow(objective, x, y, x_validation, y_validation) for objective in objectives]
        self._boosters, self.factor_ = loaded(self.models_), 1.0
        checked = validation if len(validation) else train
        self.factor_ = mean_factor(aim, numbers_of(checked), self.predict(checked))
        return self

    def predict(self, encoded: EncodedSequences) -> np.ndarray:
        """Return answers in the target's unit, (n, Q)."""
        if len(encoded) == 0:
            return np.zeros((0, self.aim_.n_answers))
        x = self.matrix_.of(encoded)
        columns = [np.asarray(booster.predict(x, num_threads=self.trees.n_jobs)) for booster in self._boosters]
        return with_factor(self.aim_.to_unit(np.sort(np.stack(columns, axis=1), axis=1)), self.factor_)

    def to_state(self) -> State:
        """Return the kept columns, and the trees as LightGBM's text in a document."""
        document = {
            "features": self.matrix_.features.to_json(),
            "aim": self.aim_.to_json(),
            "factor": self.factor_,
            "models": self.models_,
        }
        return {"kept": self.matrix_.kept}, document

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> BagLightGBMNumbers:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.matrix_ = TreeMatrix(BagFeatures.from_json(document["features"]), np.asarray(tensors["kept"]))
        baseline.aim_, baseline.factor_ = Aim.from_json(document["aim"]), float(document["factor"])
        baseline.models_ = list(document["models"])
        baseline._boosters = loaded(baseline.models_)
        return baseline


def _objective(aim: Aim, level: float) -> dict[str, Any]:
    found: dict[str, Any] = {"objective": _OBJECTIVES[aim.loss]}
    if aim.loss == "quantile":
        return found | {"alpha": level}
    return found | {"alpha": aim.huber_delta} if aim.loss == "huber" else found
