"""Pairs as padded tensors: batches of similar source and target length, gathered without a loop over rows.

Padding is on the right of either side. Pairs are ordered by target length and, within one, by source length, up and
down in turn, so that there is hardly any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from habitus.data.pairs.ragged import Ragged
from habitus.data.pairs.subwords import PAD
from habitus.data.pairs.table import PairRows

_MOST_WASTE, _FEWEST_ROWS = 0.05, 8  # a batch of 8 rows or more ends before a pair would make it waste more


@dataclass(frozen=True)
class PairBatch:
    """Padded pairs; B rows, T source steps, Q target steps.

    Args:
        source_BT: int64, PAD after the end.
        lengths: int64 (B,), of the sources.
        target_BQ: int64, what is to be written, END included, PAD after it; (B, 0) where there is none.
        target_lengths: int64 (B,).
    """

    source_BT: Tensor
    lengths: Tensor
    target_BQ: Tensor
    target_lengths: Tensor

    def to(self, device: torch.device) -> PairBatch:
        """Return the batch on a device."""
        if self.lengths.device == device:
            return self
        parts = (self.source_BT, self.lengths, self.target_BQ, self.target_lengths)
        return PairBatch(*(part.to(device) for part in parts))


class PairTensors:
    """Pairs ready to be gathered.

    Args:
        rows: the pairs.

    >>> import polars as pl
    >>> rows = PairRows(Ragged.of([[5, 6], [7]]), Ragged.of([[3], [8, 3]]), pl.Series(["a b", "c"]), None)
    >>> PairTensors(rows).gather(np.array([1, 0])).source_BT.tolist()
    [[7, 0], [5, 6]]
    """

    def __init__(self, rows: PairRows) -> None:
        self.source, self.target = _Padded(rows.source_ids), _Padded(rows.target_ids)
        self.source_lengths, self.target_lengths = rows.source_ids.lengths, rows.target_ids.lengths

    def __len__(self) -> int:
        return len(self.source_lengths)

    def gather(self, rows: np.ndarray) -> PairBatch:
        """Return the batch of the given rows."""
        chosen = torch.as_tensor(rows, dtype=torch.long)
        return PairBatch(*self.source.gather(chosen), *self.target.gather(chosen))


class _Padded:
    def __init__(self, ids: Ragged) -> None:
        self.values = torch.from_numpy(np.append(ids.values, PAD).astype(np.int32))
        self.starts, self.lengths = torch.from_numpy(ids.offsets[:-1].copy()), torch.from_numpy(ids.lengths.copy())

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        lengths = self.lengths[rows]
        steps = torch.arange(int(lengths.max()) if len(rows) else 0)
        index = torch.where(steps < lengths[:, None], self.starts[rows, None] + steps, len(self.values) - 1)
        return self.values[index].long(), lengths


def pair_batches(
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    batch_tokens: int,
    batch_rows: int,
    rng: np.random.Generator | None = None,
) -> list[np.ndarray]:
    """Return the rows of each batch, similar lengths of both sides together.

    Args:
        source_lengths, target_lengths: tokens, int (n,).
        batch_tokens: most slots of the longer side in a batch.
        batch_rows: most rows in a batch.
        rng: shuffles neighbours and batches; None keeps the order (for scoring).

    >>> lengths = np.array([9, 2, 8, 2]), np.array([5, 1, 5, 1])
    >>> [rows.tolist() for rows in pair_batches(*lengths, batch_tokens=99, batch_rows=2)]
    [[1, 3], [2, 0]]
    """
    order = _order(source_lengths, target_lengths, rng)
    lengths = np.stack([source_lengths[order], target_lengths[order]], axis=1).tolist()
    batches, first, longest, sums = [], 0, [0, 0], [0, 0]
    for position, pair in enumerate(lengths):
        n_rows = position - first + 1
        wider = [max(longest[side], pair[side]) for side in (0, 1)]
        is_full = n_rows > batch_rows or max(wider) * n_rows > batch_tokens
        wastes = n_rows > _FEWEST_ROWS and sums[0] + sums[1] + sum(pair) < (1 - _MOST_WASTE) * n_rows * sum(wider)
        if n_rows > 1 and (is_full or wastes):
            batches.append(order[first:position])
            first, wider, sums = position, pair, [0, 0]
        longest, sums = wider, [sums[0] + pair[0], sums[1] + pair[1]]
    if len(order):
        batches.append(order[first:])
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]


def pair_waste(source_lengths: np.ndarray, target_lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Return the share of slots that are padding, 0 to 1."""
    used = sum(int(source_lengths[rows].sum() + target_lengths[rows].sum()) for rows in batches)
    slots = sum(len(rows) * int(source_lengths[rows].max() + target_lengths[rows].max()) for rows in batches)
    return 1 - used / slots if slots else 0.0


def _order(source_lengths: np.ndarray, target_lengths: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """Return rows by target length, and within one by source length, up and down in turn: neighbours are alike."""
    draw = np.zeros(len(source_lengths)) if rng is None else rng.random(len(source_lengths))
    up_or_down = np.where(target_lengths % 2, source_lengths, -source_lengths)
    return np.lexsort((draw, up_or_down, target_lengths))
