"""Copy the source: what a model must beat where source and target are alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.pairs.table import PairRows, is_list


class CopySource(Rival):
    """Answer with the source as it is; where one side is text and the other lists, with its words, or with them joined.

    >>> CopySource().name
    'copy of the source'
    """

    name: ClassVar[str] = "copy of the source"
    writes_lists_: bool

    def fit(self, train_rows: PairRows, validation_rows: PairRows) -> Self:
        """Learn whether answers are texts or lists."""
        assert train_rows.targets is not None, "training pairs have targets"
        self.writes_lists_ = is_list(train_rows.targets)
        return self

    def answer(self, rows: PairRows) -> list[Any]:
        """Return the sources."""
        sources = rows.sources.to_list()
        if is_list(rows.sources) == self.writes_lists_:
            return sources
        return [one.split() for one in sources] if self.writes_lists_ else [" ".join(one) for one in sources]

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return whether answers are lists."""
        return {}, {"writes_lists": self.writes_lists_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = cls()
        rival.writes_lists_ = document["writes_lists"]
        return rival
