"""What every counting baseline promises, and the few sums that more than one of them needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from habitus.data.encode import EncodedSequences
from habitus.errors import DataError

State = tuple[dict[str, np.ndarray], dict[str, Any]]
Fitted = TypeVar("Fitted")


class Baseline(Protocol):
    """A rival by counting: fitted beside a model, saved in its bundle, shown in every evaluation."""

    name: str

    def fit(
        self,
        train: EncodedSequences,
        validation: EncodedSequences,
        sizes: dict[str, int],
        n_classes: int,
        multi_label: bool = False,
    ) -> Baseline:
        """Learn from `train`, choose strengths on `validation` (which may be empty), return self.

        Args:
            train, validation: encoded rows with targets, int64 (n,) classes; or with several labels a row
                float32 (n, C) of 0 and 1, NaN where unknown.
            sizes: number of ids of every event and profile category.
            n_classes: C.
            multi_label: whether a row may have several classes.
        """

    def predict_proba(self, encoded: EncodedSequences) -> np.ndarray:
        """Return probabilities, float64 (n, C)."""

    def to_state(self) -> State:
        """Return tensors and a JSON-able document from which `from_state` restores the same predictions."""

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Baseline:
        """Restore a fitted baseline."""


def fit_timed(fits: Mapping[str, Callable[[], Fitted]]) -> tuple[list[Fitted], dict[str, float]]:
    """Call each function that fits a baseline; return what they give, and the seconds that each took.

    >>> fitted, seconds = fit_timed({"one": lambda: 1, "two": lambda: 2})
    >>> fitted, list(seconds)
    ([1, 2], ['one', 'two'])
    """
    fitted, seconds = [], {}
    for name, fit in fits.items():
        began = time.monotonic()
        fitted.append(fit())
        seconds[name] = time.monotonic() - began
    return fitted, seconds


def target_of(encoded: EncodedSequences, n_classes: int, multi_label: bool) -> np.ndarray:
    """Return the target as 0/1 columns, float64 (n, C); NaN where a label is unknown.

    Raises:
        DataError: if there is no target, or its shape is not the one announced.
    """
    if encoded.target is None:
        raise DataError("These rows have no target, so a baseline cannot learn from them; give examples with a target.")
    target = np.asarray(encoded.target)
    if not multi_label:
        return np.eye(n_classes)[target.astype(np.int64)]
    if target.shape != (len(encoded), n_classes):
        raise DataError(f"The target has shape {target.shape}; several labels need ({len(encoded)}, {n_classes}).")
    return target.astype(np.float64)


def log_loss(probability: np.ndarray, target: np.ndarray, multi_label: bool) -> float:
    """Return the mean log-loss of (n, C) probabilities against 0/1 columns; unknown labels are left out."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    loss = -np.where(target > 0.5, np.log(p), np.log(1 - p) if multi_label else 0.0)
    return float(np.nanmean(np.where(np.isnan(target), np.nan, loss if multi_label else loss * p.shape[1])))


def sigmoid(score: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-score)) without overflow.

    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    e = np.exp(-np.abs(score))
    return np.where(score >= 0, 1.0, e) / (1.0 + e)


def softmax(score: np.ndarray) -> np.ndarray:
    """Return probabilities of (n, C) scores.

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    e = np.exp(score - score.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
