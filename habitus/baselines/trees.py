"""Gradient-boosted trees: one way to grow them, stop them on validation and keep them as text. Needs LightGBM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from habitus.errors import require

ROUNDS_WITHOUT_VALIDATION = 150


@dataclass(frozen=True)
class Trees:
    """How trees are grown.

    Args:
        n_rounds: most trees; validation stops earlier.
        patience: trees without progress on validation before stopping.
        learning_rate, n_leaves, min_leaf: as in LightGBM.
        n_jobs: threads.
        seed: of the row and column sampling; the same seed gives the same trees.
    """

    n_rounds: int = 2_000
    patience: int = 50
    learning_rate: float = 0.05
    n_leaves: int = 8
    min_leaf: int = 30
    n_jobs: int = 1
    seed: int = 0

    def grow(
        self, objective: Mapping[str, Any], x: Any, y: np.ndarray, x_validation: Any, y_validation: np.ndarray
    ) -> str:
        """Boost on the rows whose target is known until validation gets no better; return the model's text."""
        lightgbm = require("lightgbm", "baselines")
        parameters = {**objective, **self._parameters()}
        known, known_validation = np.flatnonzero(~np.isnan(y)), np.flatnonzero(~np.isnan(y_validation))
        data = lightgbm.Dataset(x[known], label=y[known])
        if len(known_validation) == 0:
            return str(lightgbm.train(parameters, data, ROUNDS_WITHOUT_VALIDATION).model_to_string())
        check = lightgbm.Dataset(x_validation[known_validation], label=y_validation[known_validation], reference=data)
        stop = lightgbm.early_stopping(self.patience, verbose=False)
        booster = lightgbm.train(parameters, data, self.n_rounds, valid_sets=[check], callbacks=[stop])
        return str(booster.model_to_string(num_iteration=booster.best_iteration))

    def _parameters(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.n_leaves,
            "min_data_in_leaf": self.min_leaf,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 1.0,
            "num_threads": self.n_jobs,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


def loaded(texts: Sequence[str]) -> list[Any]:
    """Return the boosters that texts describe."""
    lightgbm = require("lightgbm", "baselines")
    return [lightgbm.Booster(model_str=text) for text in texts]
