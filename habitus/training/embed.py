"""The studies of `Embed`: pairs of sides whose vectors are compared within a batch.

A batch holds its left sides and then its right ones, so that one pass of the network gives both. Pairs stand with
others of roughly similar length: more padding than elsewhere, and strangers that differ in more than their domain. Of
classes every text is paired with another of its class, drawn anew in every epoch; for "dropout" both sides are the
same text, which two masks make different.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.batch import Batch, SequenceTensors
from habitus.data.embed.answers import answers
from habitus.data.embed.rows import EmbedEncoder, EmbedRows
from habitus.data.encode import EncodedSequences, concatenate
from habitus.data.loader import length_batches, padding_waste
from habitus.errors import DataError
from habitus.tasks.embed import Embed
from habitus.tasks.embed_loss import at_sizes, cosent_loss, cosine_loss, negatives_loss
from habitus.tasks.embed_network import EmbedNetwork, embedded
from habitus.training.optim import Training
from habitus.training.pretrain.contrastive import ContrastiveStudy

_MIXED = 2.0  # pairs stand with others of up to twice their length: what they are told from is not their length alone


@dataclass(frozen=True)
class Pairs:
    """Pairs to learn from.

    Args:
        left, right: int64 (n,), rows of the study's tensors.
        target: float32 (n,), a score, or 1 and 0.
        group: int64 (n, 2); see `EmbedRows`.
    """

    left: np.ndarray
    right: np.ndarray
    target: np.ndarray
    group: np.ndarray

    def take(self, rows: np.ndarray) -> Pairs:
        """Return some of them."""
        return Pairs(self.left[rows], self.right[rows], self.target[rows], self.group[rows])


class EmbedStudy:
    """Pairs to learn from, and units to judge by.

    Args:
        task: the loss.
        encoder: the range of scores.
        train_rows, validation_rows: units.
    """

    def __init__(self, task: Embed, encoder: EmbedEncoder, train_rows: EmbedRows, validation_rows: EmbedRows) -> None:
        self.task, self._rows, self._validation = task, train_rows, validation_rows
        self._low, self._span = encoder.low, max(encoder.high - encoder.low, 1e-12)
        self._loss = task.learned_by
        sides = _sides(train_rows, self._loss)
        self._tensors = SequenceTensors(sides[0] if len(sides) == 1 else concatenate(sides))
        self._lengths = self._tensors.lengths.numpy()
        pairs = self._pairs(np.random.default_rng(0))
        self.n_rows = self.n_targets = len(pairs.left)
        if self.n_rows < 2:
            raise DataError("Fewer than two pairs are left to learn from, so that nothing can be told apart.")
        self.n_events = int(self._lengths[pairs.left].sum() + self._lengths[pairs.right].sum())

    def epoch_batches(self, epoch: int, training: Training, seed: int, process: int, n_processes: int) -> list[Pairs]:
        """Return this process's pairs of each batch; a function of seed and epoch."""
        rng = np.random.default_rng([seed, epoch])
        pairs = self._pairs(rng)
        lengths = np.maximum(self._lengths[pairs.left], self._lengths[pairs.right])
        lengths = np.ceil(lengths * rng.uniform(1, _MIXED, len(lengths))).astype(np.int64)
        chosen = length_batches(
            lengths,
            batch_tokens=max(1, training.batch_tokens // 2),
            batch_rows=training.batch_rows,
            rng=rng,
            by_length=training.by_length,
        )
        batches = [pairs.take(rows) for rows in chosen]
        n_each = -(-len(batches) // n_processes)
        return [batches[i % len(batches)] for i in range(process, n_each * n_processes, n_processes)]

    def padding_waste(self, batches: list[Pairs]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        rows = [np.concatenate([one.left, one.right]) for one in batches]
        return padding_waste(self._lengths, rows)

    def gather(self, chosen: Pairs) -> Batch:
        """Return the left sides and then the right ones, with target and groups as (B, 3)."""
        batch = self._tensors.gather(np.concatenate([chosen.left, chosen.right]))
        told = np.concatenate([chosen.target[:, None], chosen.group], axis=1, dtype=np.float64)
        return replace(batch, target=torch.from_numpy(told))

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over pairs, and their number."""
        assert batch.target is not None, "a batch is gathered with its targets"
        left, right = network(batch).float().chunk(2)
        target, task = batch.target[:, 0].float(), self.task
        if self._loss == "cosent":
            how = partial(cosent_loss, score_B=target, temperature=task.temperature)
        elif self._loss == "cosine":
            how = partial(cosine_loss, share_B=(target - self._low) / self._span)
        else:
            group = batch.target[:, 1:].long()
            how = partial(negatives_loss, temperature=task.temperature, is_pair_B=target > 0, group_B2=group)
        return at_sizes(left, right, task.sizes, how), len(left)

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the monitor on the validation units."""
        return judged(self.task, network, self._validation)

    def _pairs(self, rng: np.random.Generator) -> Pairs:
        rows, n = self._rows, len(self._rows)
        if self._loss == "dropout":
            own = np.arange(len(self._lengths))
            group = _groups_of_sides(rows)
            return Pairs(own, own, np.ones(len(own), np.float32), np.stack([group, group], axis=1))
        if rows.kind == "classes":
            left = np.arange(n)
            right = _partners(rows.target, rng)
            known = np.flatnonzero(right >= 0)
            group = np.repeat(rows.target.astype(np.int64)[known, None], 2, axis=1)
            return Pairs(left[known], right[known], np.ones(len(known), np.float32), group)
        return Pairs(np.arange(n), n + np.arange(n), rows.target, rows.group)


class HistoryStudy(ContrastiveStudy):
    """Slices of histories to learn from; epochs are judged by halves, as the test part is."""

    def __init__(self, task: Embed, slices: Any, train_rows: EmbedRows, validation_rows: EmbedRows, most: int) -> None:
        assert train_rows.whole is not None and validation_rows.whole is not None, "units of events are whole histories"
        super().__init__(slices, train_rows.whole, validation_rows.whole, most)
        self.embed_task, self._judged_rows = task, validation_rows

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the monitor on the validation units."""
        return judged(self.embed_task, network, self._judged_rows)


def judged(task: Embed, network: nn.Module, rows: EmbedRows) -> Mapping[str, Any]:
    """Return the monitor of units, without an interval; the loss is its shortfall."""
    assert isinstance(network, EmbedNetwork), type(network)
    found = answered(network, rows)
    value = task.monitor_value(rows, found)
    return {"validation_loss": 1 - value, "validation_metric": value, "monitor": task.monitor}


def answered(network: EmbedNetwork, rows: EmbedRows, size: int | None = None) -> np.ndarray:
    """Return the network's answers to units; see `data/embed/answers.py`."""
    left = embedded(network, rows.left, size)
    return answers(rows, left, left if rows.right is rows.left else embedded(network, rows.right, size))


def _sides(rows: EmbedRows, loss: str) -> list[EncodedSequences]:
    if rows.whole is not None:
        return [rows.whole]
    return [rows.left] if rows.right is rows.left else [rows.left, rows.right]


def _groups_of_sides(rows: EmbedRows) -> np.ndarray:
    """Return a number for each text of all sides, the same for equal ones of a side."""
    if rows.whole is not None or rows.right is rows.left:
        return rows.group[:, 0]
    return np.concatenate([rows.group[:, 0], rows.group[:, 1] + rows.group[:, 0].max(initial=0) + 1])


def _partners(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each text another one of its class, drawn at random, int64 (n,); -1 where it is alone.

    >>> _partners(np.array([0, 1, 0, 2, 1]), np.random.default_rng(0)).tolist()
    [2, 4, 0, -1, 1]
    """
    order = np.argsort(classes, kind="stable")
    _, start, count = np.unique(classes[order], return_index=True, return_counts=True)
    place = np.empty(len(classes), dtype=np.int64)
    place[order] = np.arange(len(classes)) - np.repeat(start, count)
    first, n = np.empty_like(place), np.empty_like(place)
    first[order], n[order] = np.repeat(start, count), np.repeat(count, count)
    step = rng.integers(1, np.maximum(n, 2))
    return np.where(n > 1, order[first + (place + step) % n], -1)
