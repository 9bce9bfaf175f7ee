"""The units of `Embed`, whatever says which of them belong together, and what is learned of the training units.

    scores    two texts and a number: how alike they are
    pairs     two texts that belong together (or, with a 0, do not)
    classes   one text and its class: texts of one class belong together
    texts     one text alone: its two halves belong together, when it is judged
    events    one history: its earlier and its later half belong together, when it is judged

Every unit has a left and a right side, except those of "classes", which are compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl

from habitus.data.encode import EncodedSequences, Encoder

Kind = Literal["scores", "pairs", "classes", "texts", "events"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class EmbedRows:
    """Units to embed.

    Args:
        kind: what says which belong together.
        left, right: the sides; `right` is `left` for "classes".
        target: float32 (n,): the score, 1 or 0 for a pair, or the number of the class.
        group: int64 (n, 2): equal sides have equal numbers, so that none is told from its own copy.
        whole: what is learned from where the sides are halves of it, else None.
        texts: the texts as they were written, for people; no columns of histories.
    """

    kind: Kind
    left: EncodedSequences
    right: EncodedSequences
    target: np.ndarray
    group: np.ndarray
    whole: EncodedSequences | None = None
    texts: pl.DataFrame = field(default_factory=pl.DataFrame)

    def __len__(self) -> int:
        return len(self.left)

    def take(self, rows: np.ndarray) -> Self:
        """Return the given units, in the given order."""
        left = self.left.take(rows)
        return replace(
            self,
            left=left,
            right=left if self.right is self.left else self.right.take(rows),
            target=self.target[rows],
            group=self.group[rows],
            whole=None if self.whole is None else self.whole.take(rows),
            texts=self.texts[rows] if self.texts.width else self.texts,
        )

    def arrays(self) -> Iterable[np.ndarray]:
        """Return everything that a fingerprint must cover."""
        for side in (self.left, self.right, *(() if self.whole is None else (self.whole,))):
            yield side.offsets
            yield side.age_days
            yield from (side.ids[name] for name in side.ids)
            yield from (side.numbers[name] for name in side.numbers)
        yield self.target


@dataclass
class EmbedEncoder:
    """What is learned of the training units.

    Args:
        kind: what said there which units belong together.
        inner: vocabularies and scalers.
        low, high: the least and the greatest score.
        classes: their names, in the order of their numbers.

    >>> from habitus.fields.schema import Schema
    >>> EmbedEncoder.from_json(EmbedEncoder("scores", Encoder(Schema()), 0.0, 5.0).to_json()).high
    5.0
    """

    kind: Kind
    inner: Encoder
    low: float = 0.0
    high: float = 1.0
    classes: tuple[str, ...] = ()

    @property
    def schema(self) -> Any:
        """What the columns mean."""
        return self.inner.schema

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        own = {"kind": self.kind, "low": self.low, "high": self.high, "classes": list(self.classes)}
        return own | {"encoder": self.inner.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EmbedEncoder:
        """Build from `to_json` data."""
        inner = Encoder.from_json(data["encoder"])
        return cls(data["kind"], inner, data["low"], data["high"], tuple(data["classes"]))


def numbered(values: pl.Series) -> np.ndarray:
    """Return a number for each value, the same for equal ones, int64 (n,).

    >>> numbered(pl.Series(["b", "a", "b"])).tolist()
    [1, 0, 1]
    """
    return values.rank("dense").fill_null(0).to_numpy().astype(np.int64) - 1
