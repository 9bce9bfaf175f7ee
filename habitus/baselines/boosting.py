"""Bag of events + LightGBM: what a good analyst would hand in.

Counts of the commonest values of every field, and all aggregates of `bag.py`, in gradient-boosted trees that
stop when the validation loss does. Saved as LightGBM's own text model inside the JSON document, never as a pickle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.baselines.bag import BagFeatures
from habitus.baselines.base import State, target_of
from habitus.data.encode import EncodedSequences
from habitus.errors import require

ROUNDS_WITHOUT_VALIDATION = 150


class BagLightGBM:
    """Counts and aggregates in gradient-boosted trees.

    Args:
        max_counts: how many of the commonest values of a field are counted.
        n_rounds: most trees; validation stops earlier.
        patience: trees without progress on validation before stopping.
        learning_rate, n_leaves, min_leaf: as in LightGBM.
        n_jobs: threads.
        seed: of the row and column sampling; the same seed gives the same trees.

    >>> BagLightGBM(n_rounds=500).name
    'bag + LightGBM'
    """

    name = "bag + LightGBM"

    def __init__(
        self,
        max_counts: int = 500,
        n_rounds: int = 2_000,
        patience: int = 50,
        learning_rate: float = 0.05,
        n_leaves: int = 8,
        min_leaf: int = 30,
        n_jobs: int = 1,
        seed: int = 0,
    ):
        self.max_counts, self.n_rounds, self.patience = max_counts, n_rounds, patience
        self.learning_rate, self.n_leaves, self.min_leaf = learning_rate, n_leaves, min_leaf
        self.n_jobs, self.seed = n_jobs, seed

    def fit(
        self,
        train: EncodedSequences,
        validation: EncodedSequences,
        sizes: dict[str, int],
        n_classes: int,
        multi_label: bool = False,
    ) -> BagLightGBM:
        """Boost on `train` until `validation` gets no better; one model per label if there are several."""
        self.multi_label_, self.n_classes_ = multi_label, n_classes
        self.features_ = BagFeatures.of(train, sizes)
        self.kept_ = self._commonest(self.features_.counts(train))
        x, y = self._matrix(train), target_of(train, n_classes, multi_label)
        x_validation, y_validation = self._matrix(validation), target_of(validation, n_classes, multi_label)
        if multi_label:
            columns = zip(y.T, y_validation.T, strict=True)
            self.models_ = [self._boost(x, y_c, x_validation, y_validation_c) for y_c, y_validation_c in columns]
        else:
            self.models_ = [self._boost(x, y.argmax(axis=1), x_validation, y_validation.argmax(axis=1))]
        self._load()
        return self

    def predict_proba(self, encoded: EncodedSequences) -> np.ndarray:
        """Return probabilities, (n, C)."""
        if len(encoded) == 0:
            return np.zeros((0, self.n_classes_))
        x = self._matrix(encoded)
        answers = [np.asarray(booster.predict(x, num_threads=self.n_jobs)) for booster in self._boosters]
        if self.multi_label_:
            return np.stack(answers, axis=1)
        return answers[0] if self.n_classes_ > 2 else np.stack([1 - answers[0], answers[0]], axis=1)

    def to_state(self) -> State:
        """Return the kept columns, and the trees as LightGBM's text in a document."""
        document = {
            "features": self.features_.to_json(),
            "multi_label": self.multi_label_,
            "n_classes": self.n_classes_,
            "models": self.models_,
        }
        return {"kept": self.kept_}, document

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> BagLightGBM:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.kept_ = np.asarray(tensors["kept"])
        baseline.features_ = BagFeatures.from_json(document["features"])
        baseline.multi_label_, baseline.n_classes_ = document["multi_label"], document["n_classes"]
        baseline.models_ = list(document["models"])
        baseline._load()
        return baseline

    def _load(self) -> None:
        # Predictions always come from the text, so that a saved baseline cannot differ from a fresh one.
        lightgbm = require("lightgbm", "baselines")
        self._boosters = [lightgbm.Booster(model_str=text) for text in self.models_]

    def _commonest(self, counts: Any) -> np.ndarray:
        """Columns of the commonest values of each field, ascending."""
        total, first, kept = np.asarray(counts.sum(axis=0)).ravel(), 0, []
        for size in self.features_.fields.values():
            order = np.argsort(-total[first : first + size], kind="stable")[: self.max_counts] + first
            kept.append(np.sort(order[total[order] > 0]))
            first += size
        return np.concatenate(kept).astype(np.int64) if kept else np.zeros(0, np.int64)

    def _matrix(self, encoded: EncodedSequences) -> Any:
        sparse = require("scipy.sparse", "baselines")
        counts = self.features_.counts(encoded)[:, self.kept_]
        return sparse.hstack([counts, sparse.csr_matrix(self.features_.aggregates(encoded)[1])], format="csr")

    def _boost(self, x: Any, y: np.ndarray, x_validation: Any, y_validation: np.ndarray) -> str:
        """Train one model and return its text."""
        lightgbm = require("lightgbm", "baselines")
        known, known_validation = np.flatnonzero(~np.isnan(y)), np.flatnonzero(~np.isnan(y_validation))
        data = lightgbm.Dataset(x[known], label=y[known])
        if len(known_validation) == 0:
            return str(lightgbm.train(self._parameters(), data, ROUNDS_WITHOUT_VALIDATION).model_to_string())
        check = lightgbm.Dataset(x_validation[known_validation], label=y_validation[known_validation], reference=data)
        stop = lightgbm.early_stopping(self.patience, verbose=False)
        booster = lightgbm.train(self._parameters(), data, self.n_rounds, valid_sets=[check], callbacks=[stop])
        return str(booster.model_to_string(num_iteration=booster.best_iteration))

    def _parameters(self) -> dict[str, Any]:
        many = self.n_classes_ > 2 and not self.multi_label_
        objective = {"objective": "multiclass", "num_class": self.n_classes_} if many else {"objective": "binary"}
        return {
            **objective,
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
