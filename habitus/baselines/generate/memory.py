"""Translation memory: the target of the training source that is most like the one asked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.pairs.table import PairRows
from habitus.errors import require

_CHUNK = 500  # sources that are compared at once


class TranslationMemory(Rival):
    """Answer with the target of the nearest training source: cosine of TF-IDF over character 2- to 4-grams, of token
    lists over tokens and pairs of neighbours (scikit-learn). Of equally near ones the first.

    What translators' tools call a translation memory. A model that only remembers its training pairs does no better.

    >>> TranslationMemory().name
    'translation memory'
    """

    name: ClassVar[str] = "translation memory"
    sources_: list[Any]
    targets_: list[Any]
    _index: Any
    _vectorizer: Any

    def fit(self, train_rows: PairRows, validation_rows: PairRows) -> Self:
        """Remember the training pairs."""
        assert train_rows.targets is not None, "training pairs have targets"
        return self._remember(train_rows.sources.to_list(), train_rows.targets.to_list())

    def answer(self, rows: PairRows) -> list[Any]:
        """Return the targets of the nearest sources."""
        if self._index is None:
            self._index = self._vectorizer.fit_transform(self.sources_).T.tocsr()
        found: list[int] = []
        sources = rows.sources.to_list()
        for start in range(0, len(sources), _CHUNK):
            alike = self._vectorizer.transform(sources[start : start + _CHUNK]) @ self._index
            found += np.asarray(alike.toarray()).argmax(axis=1).tolist()
        return [self.targets_[row] for row in found]

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the training pairs, as JSON in bytes."""
        text = json.dumps([self.sources_, self.targets_], ensure_ascii=False)
        return {"pairs": np.frombuffer(text.encode(), dtype=np.uint8)}, {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival; what it counts is counted again when it is first asked."""
        return cls()._remember(*json.loads(arrays["pairs"].tobytes()))

    def _remember(self, sources: list[Any], targets: list[Any]) -> Self:
        self.sources_, self.targets_, self._index = sources, targets, None
        kind = require("sklearn.feature_extraction.text", "baselines").TfidfVectorizer
        if isinstance(sources[0], str):
            self._vectorizer = kind(analyzer="char", ngram_range=(2, 4), dtype=np.float32)
        else:
            self._vectorizer = kind(analyzer=_tokens_and_pairs, dtype=np.float32)
        return self


def _tokens_and_pairs(tokens: list[str]) -> list[str]:
    return [*tokens, *(f"{one}\x1f{two}" for one, two in itertools.pairwise(tokens))]
