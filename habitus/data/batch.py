"""Batches: sequences of similar length as padded tensors.

`SequenceTensors` holds the flat arrays once as torch tensors; `gather` builds the batch of any rows by one index
operation a field, with no loop over rows. Padding is on the right. A row with no event reads one stand-in event
whose fields are all MISSING: the empty-history rule.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from habitus.data.encode import EncodedSequences
from habitus.fields.category import MISSING, PAD


@dataclass(frozen=True)
class Upcoming:
    """What follows each step of a batch, for tasks that predict the next event.

    Args:
        ids: per category field int64 (B, T), of the next event; PAD where `is_target` is False.
        numbers: per number field float32 (B, T, 2), of the next event.
        gap_days: float32 (B, T), until the next event, or until the query time at the last step of a question.
        is_target: bool (B, T), whether the next event is to be learned.
        gap_known: bool (B,), whether the network may read `gap_days`.
    """

    ids: dict[str, Tensor]
    numbers: dict[str, Tensor]
    gap_days: Tensor
    is_target: Tensor
    gap_known: Tensor

    def to(self, device: torch.device) -> Upcoming:
        """Return the same on a device."""
        return Upcoming(**{item.name: _move(getattr(self, item.name), device) for item in fields(self)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    """Padded sequences; B rows, T steps.

    Args:
        ids: per category field int64 (B, T), PAD after the end.
        numbers: per number field float32 (B, T, 2).
        age_days, gap_days: float32 (B, T).
        hour, weekday: int64 (B, T).
        bag_weights: per category field float32 (B, T): the k-th occurrence of a value in its row weighs
            log((k+1)/k), so that a sum over steps counts each value as log(1 + count).
        lengths: int64 (B,), at least 1.
        is_step: bool (B, T), False on padding.
        profile_ids: per profile field int64 (B,).
        profile_numbers: per profile field float32 (B, 2).
        offset: float32 (B, C) to be added to the outputs in place of the wide path's, or None.
        target: (B, ...) or None.
        has_padding: whether any slot is padding.
        upcoming: what follows each step, or None.
        hidden: bool (B, T), steps whose fields the network may not read, or None.
    """

    ids: dict[str, Tensor]
    numbers: dict[str, Tensor]
    age_days: Tensor
    gap_days: Tensor
    hour: Tensor
    weekday: Tensor
    bag_weights: dict[str, Tensor]
    lengths: Tensor
    is_step: Tensor
    profile_ids: dict[str, Tensor]
    profile_numbers: dict[str, Tensor]
    offset: Tensor | None
    target: Tensor | None
    has_padding: bool
    upcoming: Upcoming | None = None
    hidden: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device (itself if it is there already)."""
        if self.lengths.device == device:
            return self
        moved: dict[str, Any] = {item.name: _move(getattr(self, item.name), device) for item in fields(self)}
        return Batch(**moved)


class SequenceTensors:
    """The rows of `EncodedSequences` as tensors, ready to be gathered into batches.

    Args:
        encoded: the rows.
        with_bags: also prepare the weights of the linear path over counts.
        offset: (n, C) to be added to the outputs of each row in place of the wide path's.
    """

    def __init__(self, encoded: EncodedSequences, *, with_bags: bool = False, offset: np.ndarray | None = None) -> None:
        self._offset = None if offset is None else torch.from_numpy(offset)
        self.lengths = torch.from_numpy(np.ascontiguousarray(encoded.lengths))
        self._starts = torch.from_numpy(np.ascontiguousarray(encoded.offsets[:-1]))
        self._n_events = len(encoded.age_days)
        self._ids = {name: _with_stand_in(ids, MISSING) for name, ids in encoded.ids.items()}
        self._numbers = {name: _with_stand_in(values, [0.0, 1.0]) for name, values in encoded.numbers.items()}
        self._age_days = _with_stand_in(encoded.age_days, 0.0)
        self._gap_days = _with_stand_in(encoded.gap_days, 0.0)
        self._hour = _with_stand_in(encoded.hour, 0)
        self._weekday = _with_stand_in(encoded.weekday, 0)
        bags = {name: bag_weights(encoded.offsets, ids) for name, ids in encoded.ids.items()} if with_bags else {}
        self._bag_weights = {name: _with_stand_in(weights, 0.0) for name, weights in bags.items()}
        self._profile_ids = {name: torch.from_numpy(ids).long() for name, ids in encoded.profile_ids.items()}
        self._profile_numbers = {name: torch.from_numpy(v) for name, v in encoded.profile_numbers.items()}
        self.target = None if encoded.target is None else torch.from_numpy(np.ascontiguousarray(encoded.target))

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, rows: np.ndarray | Tensor) -> Batch:
        """Return the batch of the given rows, as long as its longest."""
        rows = torch.as_tensor(rows, dtype=torch.long)
        return self._batch(rows, self._starts[rows], self.lengths[rows])

    def cut(self, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, wait_days: np.ndarray) -> Batch:
        """Return slices of rows as rows of their own, without target: as if their history ended there.

        Args:
            rows: int64 (B,), whose slice it is.
            start, stop: int64 (B,), positions of the flat arrays; stop beyond start.
            wait_days: float32 (B,), from the slice's last event to the moment at which it is looked at.
        """
        own_lengths = torch.from_numpy(stop - start)
        batch = self._batch(torch.from_numpy(rows), torch.from_numpy(start), own_lengths)
        last_days = batch.age_days.gather(1, (own_lengths - 1)[:, None])
        age_days = batch.age_days - last_days + torch.from_numpy(wait_days)[:, None]
        first = torch.arange(batch.is_step.shape[1]) == 0
        return replace(batch, age_days=age_days, gap_days=batch.gap_days.masked_fill(first, 0.0), target=None)

    def _batch(self, rows: Tensor, starts: Tensor, own_lengths: Tensor) -> Batch:
        lengths = own_lengths.clamp_min(1)
        n_steps = int(lengths.max())
        steps = torch.arange(n_steps)
        is_step = steps < lengths[:, None]
        index = starts[:, None] + steps
        index = torch.where(is_step & (own_lengths > 0)[:, None], index, self._n_events)  # the stand-in event
        return Batch(
            ids={name: ids[index].long().masked_fill_(~is_step, PAD) for name, ids in self._ids.items()},
            numbers={name: values[index] for name, values in self._numbers.items()},
            age_days=self._age_days[index],
            gap_days=self._gap_days[index],
            hour=self._hour[index].long(),
            weekday=self._weekday[index].long(),
            bag_weights={name: weights[index] for name, weights in self._bag_weights.items()},
            lengths=lengths,
            is_step=is_step,
            profile_ids={name: ids[rows] for name, ids in self._profile_ids.items()},
            profile_numbers={name: values[rows] for name, values in self._profile_numbers.items()},
            offset=None if self._offset is None else self._offset[rows],
            target=None if self.target is None else self.target[rows],
            has_padding=bool((lengths != n_steps).any()),
        )


def bag_weights(offsets: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return log((k+1)/k) for the k-th occurrence of each value in its row, float32 (E,).

    Summed over a row, a value that occurs n times weighs log(1 + n).

    >>> bag_weights(np.array([0, 3]), np.array([7, 8, 7])).astype(float).round(3).tolist()
    [0.693, 0.693, 0.405]
    """
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((ids, rows))
    is_new = np.ones(len(ids), dtype=bool)
    is_new[1:] = (np.diff(ids[order]) != 0) | (np.diff(rows[order]) != 0)
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(ids)), 0))
    occurrence = np.empty(len(ids), dtype=np.float32)
    occurrence[order] = np.arange(len(ids)) - first + 1
    return np.log1p(1 / occurrence).astype(np.float32)


def _with_stand_in(values: np.ndarray, stand_in: object) -> Tensor:
    last = np.asarray(stand_in, dtype=values.dtype).reshape(1, *values.shape[1:])
    return torch.from_numpy(np.concatenate([values, last]))


def _move(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor | Upcoming):
        return value.to(device)
    if isinstance(value, dict):
        return {name: tensor.to(device) for name, tensor in value.items()}
    return value
