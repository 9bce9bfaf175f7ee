"""A `Number` field: an amount, a size, a score. Missing is a value of its own.

Robust scaling by default: (x - median) / (interquartile range), clipped at +-10, after a signed
logarithm for heavy tails (`log=None` decides on training data). `bins` turns a number into
quantile-bin ids instead, which are then read like a category. NaN, null and infinite values
are MISSING. Statistics come from training examples only. Knows nothing about torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
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
            order of the schema, by a convolution over neighbouring events (`backbones/frames.py`).

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
        known = known[np.isfinite(known)]
        if len(known) == 0:
            return cls(spec, log=bool(spec.log))
        log = _has_heavy_tail(known) if spec.log is None else spec.log
        known = signed_log(known) if log else known
        if spec.bins:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, spec.bins + 1)[1:-1]))
            return cls(spec, log=log, edges=[float(edge) for edge in edges])
        low, center, high = np.quantile(known, [0.25, 0.5, 0.75])
        scale = float(high - low) or float(known.std()) or 1.0
        if spec.group is not None:  # one of many numbers in a vector: a straight line does
            return cls(spec, log=log, center=float(center), scale=scale)
        scaled = np.clip((known - center) / scale, -CLIP, CLIP)
        knots = np.unique(np.quantile(scaled, np.linspace(0, 1, _N_KNOTS)).astype(np.float32))
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


def _has_heavy_tail(known: np.ndarray) -> bool:
    low, lower, center, upper, high = np.quantile(known, [0.01, 0.25, 0.5, 0.75, 0.99])
    spread = max(upper - lower, 1e-12)
    return bool(max(high - center, center - low) / spread > 5.0)
