"""Bag of events + LightGBM: what a good analyst would hand in.

Counts of the commonest values of every field, and all aggregates of `bag.py`, in gradient-boosted trees that
stop when the validation loss does. Saved as LightGBM's own text model inside the JSON document, never as a pickle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.baselines.bag import BagFeatures
from habitus.baselines.base import State, target_of
from habitus.baselines.matrix import TreeMatrix
from habitus.baselines.trees import Trees, loaded
from habitus.data.encode import EncodedSequences


class BagLightGBM:
    """Counts and aggregates in gradient-boosted trees.

    Args:
        max_counts: how many of the commonest values of a field are counted.
        trees: how they are grown.

    >>> BagLightGBM(trees=Trees(n_rounds=500)).name
    'bag + LightGBM'
    """

    name = "bag + LightGBM"

    def __init__(self, max_counts: int = 500, trees: Trees | None = None) -> None:
        self.max_counts, self.trees = max_counts, trees or Trees()

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
        self.matrix_ = TreeMatrix.fit(BagFeatures.of(train, sizes), train, self.max_counts)
        x, y = self.matrix_.of(train), target_of(train, n_classes, multi_label)
        x_validation, y_validation = self.matrix_.of(validation), target_of(validation, n_classes, multi_label)
        if multi_label:
            pairs = list(zip(y.T, y_validation.T, strict=True))
        else:
            pairs = [(y.argmax(axis=1), y_validation.argmax(axis=1))]
        self.models_ = [self.trees.grow(self._objective(), x, own, x_validation, other) for own, other in pairs]
        self._load()
        return self

    def predict_proba(self, encoded: EncodedSequences) -> np.ndarray:
        """Return probabilities, (n, C)."""
        if len(encoded) == 0:
            return np.zeros((0, self.n_classes_))
        x = self.matrix_.of(encoded)
        answers = [np.asarray(booster.predict(x, num_threads=self.trees.n_jobs)) for booster in self._boosters]
        if self.multi_label_:
            return np.stack(answers, axis=1)
        return answers[0] if self.n_classes_ > 2 else np.stack([1 - answers[0], answers[0]], axis=1)

    def to_state(self) -> State:
        """Return the kept columns, and the trees as LightGBM's text in a document."""
        document = {
            "features": self.matrix_.features.to_json(),
            "multi_label": self.multi_label_,
            "n_classes": self.n_classes_,
            "models": self.models_,
        }
        return {"kept": self.matrix_.kept}, document

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> BagLightGBM:
        """Restore a fitted baseline."""
        baseline = cls()
        baseline.matrix_ = TreeMatrix(BagFeatures.from_json(document["features"]), np.asarray(tensors["kept"]))
        baseline.multi_label_, baseline.n_classes_ = document["multi_label"], document["n_classes"]
        baseline.models_ = list(document["models"])
        baseline._load()
        return baseline

    def _load(self) -> None:
        # Predictions always come from the text, so that a saved baseline cannot differ from a fresh one.
        self._boosters = loaded(self.models_)

    def _objective(self) -> dict[str, Any]:
        many = self.n_classes_ > 2 and not self.multi_label_
        return {"objective": "multiclass", "num_class": self.n_classes_} if many else {"objective": "binary"}
