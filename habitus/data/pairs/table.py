"""Pairs of sequences: what is read and what is to be written, as two columns of text or of token lists.

A pair is a row of a table (TSV, CSV, Parquet, Arrow, or a frame). A row without a source, or without a target where one
is needed, is refused with its reason. Token lists (a list column, of behaviour or of words that are cut already) are
taken as they are; text is cut by a learned vocabulary, see `subwords.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl

from habitus.config import check_choice
from habitus.data.columns import Check, Reading, as_text, is_text, parsed
from habitus.data.pairs.ragged import Ragged
from habitus.data.rejects import Rejects
from habitus.data.rows import read_rows
from habitus.data.sources import ROW, Source, open_source
from habitus.errors import ConfigError, DataError, did_you_mean

TextTokens = Literal["bpe", "unigram", "words", "characters"]


@dataclass(frozen=True)
class PairData:
    """How pairs are read and cut into tokens.

    Args:
        tokens: how text is cut: "bpe" or "unigram" subwords, whitespace "words", or "characters". Columns of lists are
            taken as they are.
        vocabulary_size: most tokens of a vocabulary, special ones and bytes included.
        joint: one vocabulary for both sides, whose embeddings they share.
        max_length: most source tokens that are read: of text the first, of a list (a history) the latest.
        max_target_length: most target tokens, the end mark included; no answer is longer.

    >>> PairData(vocabulary_size=8000).tokens
    'bpe'
    """

    tokens: TextTokens = "bpe"
    vocabulary_size: int = 4000
    joint: bool = False
    max_length: int = 128
    max_target_length: int = 128

    def __post_init__(self) -> None:
        check_choice("tokens", self.tokens, get_args(TextTokens))
        for name in ("max_length", "max_target_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} keeps no token; use 1 or more.")
        if self.vocabulary_size < 5:
            raise ConfigError(f"vocabulary_size={self.vocabulary_size} has no room for a token; use 4000 or so.")


@dataclass(frozen=True)
class PairTable:
    """The good rows of a table of pairs.

    Args:
        label: where they came from.
        frame: all columns of the good rows, as they were.
        sources: String or List of String, (n,).
        targets: likewise, or None where none was asked for.
        rejects: the other rows.
        notes: sentences to say aloud.
    """

    label: str
    frame: pl.DataFrame
    sources: pl.Series
    targets: pl.Series | None
    rejects: Rejects
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairRows:
    """Pairs with their ids.

    Args:
        source_ids: of each source.
        target_ids: of each target, the end mark included; empty rows where there are no targets.
        sources: as written, String or List of String.
        targets: likewise, or None.
    """

    source_ids: Ragged
    target_ids: Ragged
    sources: pl.Series
    targets: pl.Series | None

    def __len__(self) -> int:
        return len(self.source_ids)

    def take(self, rows: np.ndarray) -> Self:
        """Return the given pairs in the given order."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(
            self,
            source_ids=self.source_ids.take(rows),
            target_ids=self.target_ids.take(rows),
            sources=self.sources[rows],
            targets=targets,
        )

    def arrays(self) -> Iterable[np.ndarray]:
        """Return everything that a fingerprint must cover."""
        return [self.source_ids.values, self.source_ids.offsets, self.target_ids.values, self.target_ids.offsets]


def read_pairs(pairs: Any, source: str, target: str | None) -> PairTable:
    """Read a table of pairs.

    Args:
        pairs: a path, or a polars, pandas or Arrow table.
        source: column of what is read.
        target: column of what is to be written; None needs none.

    Raises:
        DataError: if a column is absent or holds neither text nor lists, or no row is left.

    >>> read_pairs(pl.DataFrame({"en": ["hi", None], "ja": ["やあ", "え"]}), "en", "ja").rejects.total
    1
    """
    opened = open_source(pairs)
    readings = [_reading(opened, name) for name in (source, target) if name is not None]
    rows = read_rows(opened, readings)
    good = rows.frame.collect()
    if not good.height:
        raise DataError(f"{opened.label} holds no pair that can be used. {rows.rejects.summary()}")
    frame = opened.frame.collect().join(good.select(ROW), on=ROW, how="semi", maintain_order="left").drop(ROW)
    targets = None if target is None else good[target]
    return PairTable(opened.label, frame, good[source], targets, rows.rejects, (*opened.notes, *rows.notes))


def keys_of(units: pl.Series) -> pl.Series:
    """Return a text for each source that says which one it is; of lists with a mark between the tokens.

    >>> keys_of(pl.Series([["a", "b"], ["ab"]])).to_list()
    ['a\\x1fb', 'ab']
    """
    return units if units.dtype == pl.String else units.list.join("\x1f")


def is_list(units: pl.Series) -> bool:
    """Return whether units are token lists rather than texts."""
    return units.dtype == pl.List


def _reading(source: Source, name: str) -> Reading:
    if name not in source.columns:
        raise DataError(f"{source.label} has no column '{name}'; {did_you_mean(name, source.columns)}")
    dtype = source.columns[name]
    missing = Check("is missing", pl.col(name).is_null())
    if isinstance(dtype, pl.List | pl.Array):
        return _list_reading(name, dtype, missing, source.label)
    if not is_text(dtype):
        raise DataError(
            f"Column '{name}' of {source.label} holds {dtype}; give text, or lists of tokens (Parquet, Arrow)."
        )
    text = as_text(name, dtype)
    broken = Check("is not UTF-8 text", parsed(name).is_null())
    return Reading(name, text, (missing, broken, Check("is empty", parsed(name).str.strip_chars() == "")))


def _list_reading(name: str, dtype: pl.List | pl.Array, missing: Check, label: str) -> Reading:
    inner = dtype.inner
    if not (isinstance(inner, pl.DataType) and (is_text(inner) or inner.is_integer())) or inner == pl.Binary:
        raise DataError(f"Column '{name}' of {label} holds lists of {inner}; give lists of text or of whole numbers.")
    values = pl.col(name).cast(pl.List(pl.String))
    empty = Check("is empty", parsed(name).list.len() == 0)
    gap = Check("holds a missing token", parsed(name).list.eval(pl.element().is_null()).list.any())
    return Reading(name, values, (missing, empty, gap))
