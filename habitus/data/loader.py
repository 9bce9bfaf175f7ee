"""Which rows form which batch: similar lengths together (or at random), under a budget of tokens.

Rows are ordered by slightly jittered length, cut into batches of at most `batch_tokens` slots and `batch_rows`
rows, and the batches are shuffled. The order is a pure function of (seed, epoch), so that a sampler's whole
state is an epoch and a position. Little padding has a price: where a length says much about its row, as with recordings
of a few voices, a batch of equal lengths is no sample of the rows. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_JITTER = 0.02  # neighbours change from epoch to epoch, and lengths stay nearly sorted
_MOST_WASTE, _FEWEST_ROWS = 0.05, 8  # a batch of 8 rows or more ends before a row would make it waste more


def length_batches(
    lengths: np.ndarray,
    *,
    batch_tokens: int,
    batch_rows: int,
    rng: np.random.Generator | None = None,
    by_length: bool = True,
) -> list[np.ndarray]:
    """Return the rows of each batch, similar lengths together.

    Args:
        lengths: events of each row, int (n,).
        batch_tokens: most slots in a batch, padding included (a single longer row is a batch of its own).
        batch_rows: most rows in a batch.
        rng: shuffles neighbours and batches; None keeps the order by length (for scoring).
        by_length: False lets `rng` put rows together at random, with as much padding as that takes.

    >>> [rows.tolist() for rows in length_batches(np.array([5, 1, 5, 2]), batch_tokens=10, batch_rows=8)]
    [[1, 3], [0, 2]]
    """
    slots = np.maximum(lengths, 1)
    mixes = rng is not None and not by_length
    if rng is None:
        order = np.argsort(slots, kind="stable")
    elif mixes:
        order = rng.permutation(len(slots))
    else:
        jitter = rng.uniform(1 - _JITTER, 1 + _JITTER, len(slots))
        order = np.argsort(slots * jitter + rng.random(len(slots)) * 1e-3, kind="stable")
    batches, first, longest, n_steps = [], 0, 0, 0
    for position, length in enumerate(slots[order].tolist()):
        n_rows, n_slots = position - first + 1, max(longest, length) * (position - first + 1)
        wastes = not mixes and n_rows > _FEWEST_ROWS and n_steps + length < (1 - _MOST_WASTE) * n_slots
        if n_rows > 1 and (n_slots > batch_tokens or n_rows > batch_rows or wastes):
            batches.append(order[first:position])
            first, longest, n_steps = position, 0, 0
        longest, n_steps = max(longest, length), n_steps + length
    if len(order):
        batches.append(order[first:])
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def padding_waste(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Return the share of slots that are padding, 0 to 1."""
    slots = np.maximum(lengths, 1)
    padded = sum(int(slots[rows].max()) * len(rows) for rows in batches)
    return 1 - sum(int(slots[rows].sum()) for rows in batches) / padded if padded else 0.0


@dataclass
class BatchSampler:
    """The batches of every epoch, with a state that can be saved and restored.

    With several processes each takes every `n_processes`-th batch; all take equally many, the last ones being
    repeated from the start of the epoch where they do not divide.

    >>> sampler = BatchSampler(np.array([3, 4, 9]), batch_tokens=8, batch_rows=4, seed=0)
    >>> len(sampler.epoch_batches(0))
    2
    """

    lengths: np.ndarray
    batch_tokens: int
    batch_rows: int
    seed: int = 0
    process: int = 0
    n_processes: int = 1
    by_length: bool = True

    def epoch_batches(self, epoch: int) -> list[np.ndarray]:
        """Return this process's batches of an epoch, in order; the same for the same (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        batches = length_batches(
            self.lengths,
            batch_tokens=self.batch_tokens,
            batch_rows=self.batch_rows,
            rng=rng,
            by_length=self.by_length,
        )
        n_each = -(-len(batches) // self.n_processes)
        return [batches[i % len(batches)] for i in range(self.process, n_each * self.n_processes, self.n_processes)]
