"""Make probabilities honest: maps fitted on validation rows, kept as plain numbers, applied with numpy alone.

- `platt`: sigmoid(slope * logit(p) + intercept). Two numbers; choose it for a few hundred rows or fewer.
- `isotonic`: any rising steps. Choose it from a few thousand rows; it makes ties.
- `temperature`: softmax(log p / temperature). One number, for two or more classes; never changes the likeliest class.
Fit on rows the model was not trained on. A map never turns the order of scores around: a model that ranks
backwards on the rows given gets a constant (platt, isotonic). Multi-label: fit one map per column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from habitus.errors import BundleError, ConfigError, DataError, did_you_mean
from habitus.metrics.intervals import Interval, wilson
from habitus.metrics.outcome import Floats, Outcome, read_outcome
from habitus.metrics.ranked import equal_count_ends

Kind = Literal["none", "platt", "isotonic", "temperature"]
SMALLEST = 1e-12  # keeps logits within +-27.6
PARAMETERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "platt": ("slope", "intercept"),
    "isotonic": ("from", "to"),
    "temperature": ("temperature",),
}


@dataclass(frozen=True)
class Calibration:
    """A fitted map from probability to probability.

    >>> Calibration("platt", {"slope": 1.0, "intercept": 0.0}).apply([0.1, 0.5]).round(6).tolist()
    [0.1, 0.5]
    """

    kind: Kind
    parameters: Mapping[str, Any]

    def apply(self, probability: ArrayLike) -> Floats:
        """Return calibrated probabilities of the same shape: (n,), or (n, C) for temperature."""
        given = np.asarray(probability, dtype=np.float64)
        if self.kind == "platt":
            return sigmoid(self.parameters["slope"] * logit(given) + self.parameters["intercept"])
        if self.kind == "isotonic":
            return np.asarray(np.interp(given, self.parameters["from"], self.parameters["to"]), dtype=np.float64)
        if self.kind == "temperature":
            sharpness = 1 / self.parameters["temperature"]
            return sigmoid(sharpness * logit(given)) if given.ndim == 1 else softmax(sharpness * _log(given))
        return given.copy()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"kind": self.kind, "parameters": dict(self.parameters)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Build from `to_json` data; refuse what no fit could have written."""
        kind, parameters = data.get("kind"), data.get("parameters")
        names = PARAMETERS.get(kind) if isinstance(kind, str) else None
        if names is None or not isinstance(parameters, Mapping) or set(parameters) != set(names):
            raise BundleError(
                f"calibration of kind {kind!r} cannot be read; known: {PARAMETERS}. Save the model again."
            )
        if not _is_sound(str(kind), parameters):
            raise BundleError(f"the {kind} calibration holds impossible numbers; it is damaged. Save the model again.")
        return cls(cast(Kind, kind), dict(parameters))


def fit_calibration(target: ArrayLike, probability: ArrayLike, kind: Kind = "platt") -> Calibration:
    """Learn a map from validation rows.

    Args:
        target: class numbers, (n,), at least two classes present.
        probability: (n,) of the positive class, or (n, C) for `temperature`.
        kind: see the module's docstring; `none` gives the identity.

    >>> fit_calibration([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.7, 0.9], "isotonic").apply([0.3, 0.6]).tolist()
    [0.5, 0.5]
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"calibration '{kind}' is not known; {did_you_mean(kind, get_args(Kind))}")
    given = np.asarray(probability)
    n_classes = 2 if given.ndim < 2 else given.shape[1]
    if n_classes > 2 and kind in ("platt", "isotonic"):
        raise ConfigError(f"calibration '{kind}' is for two classes, not {n_classes}; use 'temperature'.")
    outcome = read_outcome(target, given[:, 1] if given.ndim == n_classes == 2 else given, n_classes=n_classes)
    if kind == "none":
        return Calibration("none", {})
    if (outcome.truth.any(axis=0).sum() if n_classes > 2 else len(np.unique(outcome.truth))) < 2:
        raise DataError("Calibration needs rows of at least two classes; these hold one. Give more validation rows.")
    return {"platt": _platt, "isotonic": _isotonic, "temperature": _temperature}[kind](outcome)


@dataclass(frozen=True)
class ReliabilityPoint:
    """One point of the reliability curve: where `predicted` lies outside `observed`'s interval, the model misleads.

    >>> ReliabilityPoint(10, 0.2, wilson(3, 10)).to_json()["predicted"]
    0.2
    """

    n: int
    predicted: float
    observed: Interval

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"n": self.n, "predicted": self.predicted, "observed": self.observed.to_json()}


def reliability_curve(
    target: ArrayLike, probability: ArrayLike, n_bins: int = 10, confidence: float = 0.95
) -> list[ReliabilityPoint]:
    """Return mean predicted and observed rate (Wilson) in bins of about equal count, by rising probability.

    >>> [(point.n, point.predicted) for point in reliability_curve([0, 0, 1, 1], [0.25, 0.25, 0.5, 1.0], n_bins=2)]
    [(2, 0.25), (2, 0.75)]
    """
    if n_bins < 1:
        raise ConfigError(f"n_bins={n_bins} leaves no bin; use 1 or more, usually 10.")
    outcome = read_outcome(target, probability)
    order = np.argsort(outcome.probability[:, 0], kind="stable")
    score, truth = outcome.probability[order, 0], outcome.truth[order, 0]
    cuts = equal_count_ends(score, n_bins)[:-1] + 1
    bins = zip(np.split(score, cuts), np.split(truth, cuts), strict=True) if outcome.n else ()
    return [
        ReliabilityPoint(len(inside), float(inside.mean()), wilson(float(true.sum()), len(true), confidence))
        for inside, true in bins
    ]


def logit(probability: Floats) -> Floats:
    """Return log(p / (1 - p)), kept finite at 0 and 1.

    >>> logit(np.array([0.5])).tolist()
    [0.0]
    """
    kept = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(kept) - np.log1p(-kept), dtype=np.float64)


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small), dtype=np.float64)


def softmax(logits: Floats) -> Floats:
    """Return exp(x) over its sum along the last axis, without overflow.

    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)


def _log(probability: Floats) -> Floats:
    return np.asarray(np.log(np.clip(probability, SMALLEST, 1.0)), dtype=np.float64)


def _platt(outcome: Outcome) -> Calibration:
    """Platt 1999: logistic regression on targets pulled in to (P + 1) / (P + 2) and 1 / (N + 2), eq. 1.

    Differs from the paper: the input is the logit of a probability. Separable rows stay finite by the pulled targets.
    """
    from sklearn.linear_model import LogisticRegression  # not at the top: importing it takes a second

    truth, scores = outcome.truth[:, 0], logit(outcome.probability)
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    wanted = np.where(truth, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    # A fractional target is a row seen twice: as 1 with that weight, as 0 with the rest.
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    twice = np.repeat([1, 0], len(truth))
    model.fit(np.concatenate([scores, scores]), twice, sample_weight=np.concatenate([wanted, 1 - wanted]))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        slope, intercept = 0.0, float(logit(wanted.mean()))
    return Calibration("platt", {"slope": slope, "intercept": intercept})


def _isotonic(outcome: Outcome) -> Calibration:
    from sklearn.isotonic import IsotonicRegression  # not at the top: importing it takes a second

    # Without bounds the end steps are 0 and 1, which no finite number of rows can show (log-loss: infinite).
    edge = 1 / (outcome.n + 2)
    model = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    model.fit(outcome.probability[:, 0], outcome.truth[:, 0].astype(np.float64))
    return Calibration("isotonic", {"from": model.X_thresholds_.tolist(), "to": model.y_thresholds_.tolist()})


def _temperature(outcome: Outcome) -> Calibration:
    """Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 9: the temperature of least log-loss, by bisection."""
    probability, truth = outcome.probability, outcome.truth
    if outcome.kind == "binary":
        probability, truth = np.hstack([1 - probability, probability]), np.hstack([~truth, truth])
    logs = _log(probability)

    def slope(sharpness: float) -> float:  # of the log-loss in 1 / temperature; it rises, because the loss is convex
        return float((softmax(sharpness * logs) * logs).sum() - logs[truth].sum())

    low, high = -np.log(100.0), np.log(100.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(np.exp(middle))) < 0 else (low, middle)
    return Calibration("temperature", {"temperature": float(np.exp(-(low + high) / 2))})


def _is_sound(kind: str, parameters: Mapping[str, Any]) -> bool:
    try:
        numbers = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    except (TypeError, ValueError):
        return False
    if not all(np.isfinite(value).all() for value in numbers.values()):
        return False
    if kind == "isotonic":
        start, end = numbers["from"], numbers["to"]
        rising = start.ndim == 1 and start.shape == end.shape and start.size > 0
        return bool(rising and (np.diff(start) > 0).all() and (np.diff(end) >= 0).all() and _within_unit(end))
    scalars = all(value.ndim == 0 for value in numbers.values())
    return scalars and bool(numbers.get("slope", 0.0) >= 0 and numbers.get("temperature", 1.0) > 0)


def _within_unit(values: Floats) -> bool:
    return bool(values.min() >= 0 and values.max() <= 1)
