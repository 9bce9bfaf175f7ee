"""A `Number` field: an amount, a size, a score. Missing is a value of its own.

Robust scaling by default: (x - median) / (interquartile range), clipped at +-10, after a signed
logarithm for heavy tails (`log=None` decides on training data). `bins` turns a number into
quantile-bin ids instead, which are then read like a category. NaN, null and infinite values
are MISSING. Statistics come from training examples only. Knows nothing about torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl

from habitus.errors import ConfigError

CLIP = 10.0
_N_KNOTS = 17


@dataclass(frozen=True)
class Number:
    """Say how a column of numbers is read.

    Args:
        log: take sign(x) * log(1 + |x|) first; None decides by the tail of the training data.
        bins: if set, cut at this many training quantiles and read the bin as a category.
        group: name of the spectrum that the number is a band of: numbers of one group are read as one vector, in the
            order of the schema, on one scale, by convolutions over neighbouring events (`backbones/spectrum.py`).

    >>> Number(log=True)
    Number(log=True, bins=None)
    """

    log: bool | None = None
    bins: int | None = None
    group: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.group is not None and self.bins is not None:
            raise ConfigError(f"group={self.group!r} reads a number beside others, so it cannot be cut into bins.")
        if self.bins is not None and self.bins < 2:
            raise ConfigError(f"bins={self.bins} cannot tell values apart; use 2 or more, or leave it out.")


@dataclass
class Scaler:
    """The fitted side of a `Number`.

    `knots` are quantiles of the scaled training values, between which a network may bend (see `NumberEmbedding`).

    >>> scaler = Scaler.fit(Number(log=False), pl.Series([1.0, 2.0, 3.0, 4.0, 5.0]))
    >>> scaler.encode(pl.Series([3.0, 5.0, None])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """

    spec: Number
    log: bool = False
    center: float = 0.0
    scale: float = 1.0
    edges: list[float] = field(default_factory=list)
    knots: list[float] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of bin ids (PAD, UNKNOWN, MISSING, bins) when binned, else 2: value and missing flag."""
        return 3 + len(self.edges) + 1 if self.spec.bins else 2

    @classmethod
    def fit(cls, spec: Number, values: pl.Series) -> Scaler:
        """Learn centre and scale (or bin edges) from the numbers of training examples."""
        known = as_floats(values)
        return cls.from_counts(spec, *np.unique(known[np.isfinite(known)], return_counts=True))

    @classmethod
    def from_counts(cls, spec: Number, known: np.ndarray, counts: np.ndarray) -> Scaler:
        """Learn from how often each number was seen, wherever it was counted.

        Args:
            spec: how the column is read.
            known: float64 (n,), finite, ascending, each once.
            counts: int64 (n,), how often.
        """
        if len(known) == 0:
            return cls(spec, log=bool(spec.log))
        log = _has_heavy_tail(known, counts) if spec.log is None else spec.log
        known = signed_log(known) if log else known
        if spec.bins:
            edges = np.unique(quantiles(known, counts, np.linspace(0, 1, spec.bins + 1)[1:-1]))
            return cls(spec, log=log, edges=[float(edge) for edge in edges])
        low, center, high = quantiles(known, counts, np.array([0.25, 0.5, 0.75]))
        scale = float(high - low) or _deviation(known, counts) or 1.0
        if spec.group is not None:  # one of many numbers in a vector: a straight line does
            return cls(spec, log=log, center=float(center), scale=scale)
        scaled = np.clip((known - center) / scale, -CLIP, CLIP)
        knots = np.unique(quantiles(scaled, counts, np.linspace(0, 1, _N_KNOTS)).astype(np.float32))
        return cls(spec, log=log, center=float(center), scale=scale, knots=[float(knot) for knot in knots])

    def encode(self, values: pl.Series) -> np.ndarray:
        """Return float32 (n, 2): scaled value and missing flag; or int32 (n,) bin ids when binned."""
        raw = as_floats(values)
        missing = ~np.isfinite(raw)
        raw = np.where(missing, 0.0, raw)
        shaped = signed_log(raw) if self.log else raw
        if self.spec.bins:
            ids = np.searchsorted(np.asarray(self.edges), shaped, side="right") + 3
            return np.where(missing, 2, ids).astype(np.int32)
        scaled = np.clip((shaped - self.center) / self.scale, -CLIP, CLIP)
        return np.stack([np.where(missing, 0.0, scaled), missing], axis=1).astype(np.float32)

    def decode(self, scaled: np.ndarray) -> np.ndarray:
        """Return numbers of scaled values, float64 (n,): the inverse of `encode` within its clipping; not for bins."""
        assert not self.spec.bins, "a bin is an id, not a number"
        shaped = scaled * self.scale + self.center
        return np.sign(shaped) * np.expm1(np.abs(shaped)) if self.log else shaped

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"kind": "number", **asdict(self), "spec": plain_number(self.spec)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Scaler:
        """Build from `to_json` data."""
        rest = {key: value for key, value in data.items() if key not in ("kind", "spec")}
        return cls(Number(**data["spec"]), **rest)


def share_scales(fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Give the numbers of a group the mean of their centers and of their scales, so that what is higher stays higher.

    The bands of a spectrum are compared with each other: scaled one by one, a vowel a little higher is another pattern.

    >>> low, high = (Scaler(Number(group="mel"), center=center, scale=1.0) for center in (1.0, 3.0))
    >>> [scaler.center for scaler in share_scales({"a": low, "b": high}).values()]
    [2.0, 2.0]
    """
    groups: dict[str, list[Scaler]] = {}
    for scaler in fitted.values():
        if isinstance(scaler, Scaler) and scaler.spec.group is not None:
            groups.setdefault(scaler.spec.group, []).append(scaler)
    shared = {
        group: {"center": fmean(one.center for one in own), "scale": fmean(one.scale for one in own)}
        for group, own in groups.items()
    }
    group_of = {name: getattr(one.spec, "group", None) for name, one in fitted.items()}
    return {name: replace(one, **shared[group]) if (group := group_of[name]) else one for name, one in fitted.items()}


def plain_number(spec: Number) -> dict[str, Any]:
    """Return the options of a number as plain data; a group only where there is one.

    >>> plain_number(Number(log=True))
    {'log': True, 'bins': None}
    """
    options = asdict(spec)
    return options if spec.group is not None else {name: options[name] for name in ("log", "bins")}


def as_floats(values: pl.Series) -> np.ndarray:
    """Return float64 values with NaN for nulls."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def signed_log(values: np.ndarray) -> np.ndarray:
    """Return sign(x) * log(1 + |x|), which keeps zero, order and sign."""
    return np.sign(values) * np.log1p(np.abs(values))


def quantiles(known: np.ndarray, counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return quantiles of numbers that were counted, to the bit those that `np.quantile` gives of all of them.

    Args:
        known: float64 (n,), ascending; neighbours may be equal.
        counts: int64 (n,), how often each was seen, 1 or more.
        shares: float64 (q,), between 0 and 1.

    >>> quantiles(np.array([1.0, 5.0]), np.array([3, 1]), np.array([0.5, 0.75]))
    array([1., 2.])
    """
    ends = np.cumsum(counts)
    place = (ends[-1] - 1) * np.asarray(shares)
    before = np.floor(place).astype(np.int64)
    low = known[np.searchsorted(ends, before, side="right")]
    high = known[np.searchsorted(ends, np.minimum(before + 1, ends[-1] - 1), side="right")]
    with np.errstate(over="ignore", invalid="ignore"):  # as numpy does with numbers that are too far apart
        rest, gap = place - before, high - low
        return np.where(rest >= 0.5, high - gap * (1 - rest), low + gap * rest)


def _deviation(known: np.ndarray, counts: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.average(known, weights=counts)
        return float(np.sqrt(np.average((known - mean) ** 2, weights=counts)))


def _has_heavy_tail(known: np.ndarray, counts: np.ndarray) -> bool:
    low, lower, center, upper, high = quantiles(known, counts, np.array([0.01, 0.25, 0.5, 0.75, 0.99]))
    spread = max(upper - lower, 1e-12)
    return bool(max(high - center, center - low) / spread > 5.0)
