"""The recogniser of the seventies: the transcript of the most similar training utterance, by dynamic time warping.

Two utterances are laid on each other so that slow and fast parts match, at the least sum of distances between frames
(Sakoe and Chiba 1978, https://doi.org/10.1109/TASSP.1978.1163055, symmetric steps, no slope constraint). Differs in
that every utterance is first brought to 24 frames, so that all references are warped at once. A good rival for single
words, and a floor for sentences: it only says what training said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.utterances import Utterances, stretched

_N_FRAMES = 24
_MOST = 1000  # references kept: they travel in the bundle, 4 KB each


class NearestUtterance(Rival):
    """Answer with the transcript of the nearest of up to 1,000 training utterances.

    The references (their frames, not their sound) are part of the saved model.
    """

    name: ClassVar[str] = "nearest by time warping"
    references_: np.ndarray
    texts_: list[str]

    def fit(self, train_rows: Utterances, validation_rows: Utterances) -> Self:
        """Keep training utterances, evenly spread over their order."""
        n = len(train_rows)
        kept = np.unique(np.linspace(0, n - 1, min(n, _MOST)).astype(np.int64))
        self.references_ = _squeezed(train_rows.take(kept))
        self.texts_ = [train_rows.texts[row] for row in kept]
        return self

    def answer(self, rows: Utterances) -> list[str]:
        """Return the transcript of the nearest reference of each utterance."""
        found = (int(warped_distances(one, self.references_).argmin()) for one in _squeezed(rows))
        return [self.texts_[row] for row in found]

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the references and their texts."""
        return {"references": self.references_}, {"texts": self.texts_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        rival = cls()
        rival.references_, rival.texts_ = np.asarray(arrays["references"]), list(document["texts"])
        return rival


def warped_distances(one_TM: np.ndarray, others_NTM: np.ndarray) -> np.ndarray:
    """Return the cost of the best warping path from one utterance to each other, float32 (N,).

    Args:
        one_TM: frames.
        others_NTM: frames of N others, all of one length.

    >>> warped_distances(np.array([[0.0], [1.0]]), np.array([[[0.0], [1.0]], [[1.0], [1.0]]])).tolist()
    [0.0, 1.0]
    """
    squares = (others_NTM**2).sum(2)[:, None] - 2 * np.einsum("tm,nsm->nts", one_TM, others_NTM)
    costs_NTS = np.sqrt(np.maximum(squares + (one_TM**2).sum(1)[None, :, None], 0.0))
    n, n_rows, n_columns = costs_NTS.shape
    before = np.full((n_columns + 1, n), np.inf, costs_NTS.dtype)
    before[0] = 0.0
    for row in range(n_rows):
        now = np.full_like(before, np.inf)
        for column in range(n_columns):
            least = np.minimum(np.minimum(before[column], before[column + 1]), now[column])
            now[column + 1] = least + costs_NTS[:, row, column]
        before = now
    return before[-1]


def _squeezed(rows: Utterances) -> np.ndarray:
    """Return every utterance at 24 frames, float32 (n, 24, M)."""
    n_bands = rows.frames.shape[1]
    found = [stretched(rows.of(row), _N_FRAMES) for row in range(len(rows))]
    return np.stack(found).astype(np.float32) if found else np.zeros((0, _N_FRAMES, n_bands), np.float32)
