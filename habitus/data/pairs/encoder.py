"""What is learned of training pairs: a vocabulary a side and the longest target; and pairs as ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from habitus.data.pairs.ragged import Ragged
from habitus.data.pairs.subwords import END, UNKNOWN, Tokens, learn_tokens, tokens_from_json
from habitus.data.pairs.table import PairData, PairRows, is_list
from habitus.data.slices import offsets_of
from habitus.errors import DataError


@dataclass(frozen=True)
class PairEncoder:
    """Vocabularies of both sides.

    Args:
        source, target: vocabularies; the same object if they are joint.
        max_length: most source tokens that are read.
        max_target_length: most target tokens, the end mark included.
        longest: tokens of the longest training target, the end mark included; no answer is longer.
    """

    source: Tokens
    target: Tokens
    max_length: int
    max_target_length: int
    longest: int

    @classmethod
    def learn(cls, sources: pl.Series, targets: pl.Series, data: PairData) -> PairEncoder:
        """Learn from training pairs."""
        if data.joint and is_list(sources) != is_list(targets):
            raise DataError("joint=True needs both columns to be text or both to be lists; leave it out.")
        kinds = ["list" if is_list(units) else data.tokens for units in (sources, targets)]
        if data.joint:
            both = pl.concat([sources.alias("unit"), targets.alias("unit")])
            source = target = learn_tokens(both, kinds[0], data.vocabulary_size)  # type: ignore[arg-type]
        else:
            source = learn_tokens(sources, kinds[0], data.vocabulary_size)  # type: ignore[arg-type]
            target = learn_tokens(targets, kinds[1], data.vocabulary_size)  # type: ignore[arg-type]
        longest = 1 + int(target.encode(targets).lengths.max())
        return cls(source, target, data.max_length, data.max_target_length, min(longest, data.max_target_length))

    @property
    def joint(self) -> bool:
        """Whether both sides share a vocabulary."""
        return self.source is self.target

    def encode(self, sources: pl.Series, targets: pl.Series | None) -> tuple[PairRows, list[str]]:
        """Return pairs as ids, and sentences about what was cut or is not known."""
        self._refuse_other_kind(sources, self.source, "source")
        source_ids = self.source.encode(sources)
        notes = [_cut_note(source_ids, self.max_length, "source", "last" if is_list(sources) else "first")]
        notes.append(_unknown_note(source_ids, "source"))
        source_ids = source_ids.last(self.max_length) if is_list(sources) else source_ids.first(self.max_length)
        if targets is None:
            target_ids = Ragged(np.zeros(0, np.int32), np.zeros(len(sources) + 1, np.int64))
        else:
            self._refuse_other_kind(targets, self.target, "target")
            target_ids = _with_end(self.target.encode(targets))
            notes.append(_cut_note(target_ids, self.max_target_length, "target", "first"))
            notes.append(_unknown_note(target_ids, "target"))
            target_ids = target_ids.first(self.max_target_length)
        return PairRows(source_ids, target_ids, sources, targets), [note for note in notes if note]

    def facts(self) -> dict[str, Any]:
        """Return plain data for reports."""
        return {
            "source_tokens": f"{self.source.kind}, {self.source.size:,} ids",
            "target_tokens": f"{self.target.kind}, {self.target.size:,} ids" + (" (joint)" if self.joint else ""),
            "longest_target": self.longest,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        numbers = {name: getattr(self, name) for name in ("max_length", "max_target_length", "longest")}
        return {"source": self.source.to_json(), "target": None if self.joint else self.target.to_json(), **numbers}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PairEncoder:
        """Build from `to_json` data."""
        source = tokens_from_json(data["source"])
        target = source if data["target"] is None else tokens_from_json(data["target"])
        return cls(source, target, data["max_length"], data["max_target_length"], data["longest"])

    def _refuse_other_kind(self, units: pl.Series, tokens: Tokens, side: str) -> None:
        if is_list(units) != (tokens.kind == "list"):
            was, given = ("lists", "text") if tokens.kind == "list" else ("text", "lists")
            raise DataError(f"The {side} column holds {given}, but the model was trained on {was}; give {was}.")


def _with_end(ids: Ragged) -> Ragged:
    return Ragged(np.insert(ids.values, ids.offsets[1:], END).astype(np.int32), offsets_of(ids.lengths + 1))


def _cut_note(ids: Ragged, n: int, side: str, kept: str) -> str:
    n_cut = int((ids.lengths > n).sum())
    if not n_cut:
        return ""
    option = "max_length" if side == "source" else "max_target_length"
    return f"{n_cut:,} of {len(ids):,} {side}s are longer than {option}={n} tokens; the {kept} {n} are read."


def _unknown_note(ids: Ragged, side: str) -> str:
    share = float((ids.values == UNKNOWN).mean()) if len(ids.values) else 0.0
    return f"{share:.2%} of the {side} tokens are unknown to the vocabulary.".replace("%", " %", 1) if share else ""
