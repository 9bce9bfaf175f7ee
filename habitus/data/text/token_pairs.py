"""Pairs of neighbouring tokens, "not good", as a second field of a text: what a bag of words cannot tell.

    tokens    not   good  at   all
    pairs      -   (not good)  (good at)  (at all)        a pair stands where its second token does

Networks and counting rivals read them as they read any category (Joulin et al. 2017, arXiv:1607.01759, section 2.2;
differs from the paper in that the most frequent pairs of training are kept, where it hashes all of them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from habitus.data.pairs.ragged import Ragged
from habitus.data.text.tokens import TextVocabulary
from habitus.fields.category import MISSING, N_RESERVED, UNKNOWN, Category, Vocabulary

_LEAST = 3  # a pair that is rarer says nothing that can be trusted


@dataclass
class TokenPairs(Vocabulary):
    """The most frequent pairs of training texts.

    Args:
        spec: how many are kept, and how often each must have been seen.
        values: pairs by id, from id 3, the two tokens with a space between.
        counts: how often each was seen.
        codes: first token's id times `n_tokens`, plus the second's, of each pair.
        n_tokens: ids of the vocabulary of tokens.
    """

    codes: list[int] = field(default_factory=list)
    n_tokens: int = 0

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes, dtype=np.int64)
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]

    @classmethod
    def learn(cls, vocabulary: TextVocabulary, ids: Ragged, most: int, least: int = _LEAST) -> TokenPairs:
        """Learn pairs from the ids of training texts.

        >>> from habitus.fields.text import Text
        >>> words = TextVocabulary(Text(), ["not", "good"], [2, 2])
        >>> TokenPairs.learn(words, Ragged.of([[3, 4], [3, 4, 3]]), 10, least=2).values
        ['not good']
        """
        codes, is_pair = _codes(ids, vocabulary.size)
        found, counts = np.unique(codes[is_pair], return_counts=True)
        kept = np.lexsort((found, -counts))[: min(most, int((counts >= least).sum()))]
        names = [
            f"{vocabulary.values[code // vocabulary.size - N_RESERVED]} "
            f"{vocabulary.values[code % vocabulary.size - N_RESERVED]}"
            for code in found[kept].tolist()
        ]
        spec = Category(min_count=least, max_size=most)
        return cls(spec, names, counts[kept].tolist(), found[kept].tolist(), vocabulary.size)

    def pairs_of(self, ids: Ragged) -> np.ndarray:
        """Return the id of the pair that ends at each token, int32 (E,); MISSING at the first token of a text."""
        codes, is_pair = _codes(ids, self.n_tokens)
        place = np.searchsorted(self._sorted, codes)
        place = np.minimum(place, max(len(self._sorted) - 1, 0))
        known = is_pair & (self._sorted[place] == codes) if len(self._sorted) else np.zeros(len(codes), dtype=bool)
        found = np.full(len(codes), UNKNOWN, dtype=np.int32)
        found[known] = self._order[place[known]] + N_RESERVED
        found[ids.offsets[:-1][ids.lengths > 0]] = MISSING
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {**super().to_json(), "kind": "token pairs", "codes": self.codes, "n_tokens": self.n_tokens}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TokenPairs:
        """Build from `to_json` data."""
        values, counts = list(data["values"]), list(data["counts"])
        return cls(Category(**data["spec"]), values, counts, list(data["codes"]), data["n_tokens"])


def _codes(ids: Ragged, n_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the code of the pair that ends at each token, and whether both of its tokens are known and of one text."""
    values = ids.values.astype(np.int64)
    before = np.roll(values, 1)
    inside = np.ones(len(values), dtype=bool)
    inside[ids.offsets[:-1][ids.lengths > 0]] = False
    return before * n_tokens + values, inside & (before >= N_RESERVED) & (values >= N_RESERVED)
