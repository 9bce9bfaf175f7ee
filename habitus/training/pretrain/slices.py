"""What the studies of pretraining share: histories cut into slices, anew in every epoch.

A slice is looked at some time after its last event, drawn between that event and what comes after it (the next
event, or the moment at which the history ends), because that is how a history looks at a cutoff.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.batch import Batch, SequenceTensors
from habitus.data.encode import EncodedSequences
from habitus.data.histories import cover
from habitus.data.loader import length_batches, padding_waste
from habitus.tasks.pretrain import Pretrain
from habitus.training.optim import Training

_VALIDATION_BATCH = {"batch_tokens": 16_384, "batch_rows": 256}


@dataclass(frozen=True)
class Slices:
    """Slices of one batch.

    Args:
        row: int64 (B,), whose history it is.
        start, stop: int64 (B,), positions of the flat arrays.
        wait_days: float32 (B,), from the last event to the moment at which the slice is looked at.
        seed: of everything else that is drawn for the batch.
    """

    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    wait_days: np.ndarray
    seed: tuple[int, ...]

    @property
    def lengths(self) -> np.ndarray:
        """Events of each slice, int64 (B,)."""
        return self.stop - self.start


class Rows:
    """Histories that are cut.

    Args:
        encoded: one row an entity, up to the moment at which its history ends.
    """

    def __init__(self, encoded: EncodedSequences) -> None:
        self.tensors = SequenceTensors(encoded)
        self.begin, self.end = encoded.offsets[:-1], encoded.offsets[1:]
        self._gap_days, self._age_days = encoded.gap_days, encoded.age_days

    def slices(self, row: np.ndarray, start: np.ndarray, stop: np.ndarray, seed: tuple[int, ...]) -> Slices:
        """Return slices with a moment drawn for each."""
        last = stop - 1
        within = stop < self.end[row]
        until = np.where(within, self._gap_days[np.where(within, stop, last)], self._age_days[last])
        share = np.random.default_rng([*seed, 1]).random(len(row))
        return Slices(row, start, stop, (share * until).astype(np.float32), seed)

    def gather(self, chosen: Slices) -> Batch:
        """Return slices as a batch."""
        return self.tensors.cut(chosen.row, chosen.start, chosen.stop, chosen.wait_days)


class SliceStudy(ABC):
    """Slices to learn from and to judge by; a leaf says how a batch is asked and what its loss is.

    Args:
        task: what is learned.
        train_rows, validation_rows: histories.
        max_length: most events in a slice.
    """

    def __init__(
        self, task: Pretrain, train_rows: EncodedSequences, validation_rows: EncodedSequences, max_length: int
    ) -> None:
        self.task, self.max_length = task, max_length
        self._train, self._validation = Rows(train_rows), Rows(validation_rows)
        self.n_events = int(train_rows.lengths.sum())
        self.n_rows = len(train_rows)

    def begin(self, network: nn.Module) -> None:  # noqa: B027  most heads need not
        """Let the network's head see the training rows once before training."""

    @property
    @abstractmethod
    def n_targets(self) -> int:
        """Targets of an epoch, about."""

    @abstractmethod
    def asked(self, rows: Rows, chosen: Slices) -> Batch:
        """Return a batch with what is asked of it."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over targets, and their number."""

    def epoch_batches(self, epoch: int, training: Training, seed: int, process: int, n_processes: int) -> list[Slices]:
        """Return this process's batches of an epoch; cuts and order are a function of seed and epoch."""
        rng = np.random.default_rng([seed, epoch])
        sizes = {
            "batch_tokens": training.batch_tokens,
            "batch_rows": training.batch_rows,
            "by_length": training.by_length,
        }
        batches = self._batches(self._train, rng, (seed, epoch), sizes)
        n_each = -(-len(batches) // n_processes)
        return [batches[i % len(batches)] for i in range(process, n_each * n_processes, n_processes)]

    def padding_waste(self, batches: list[Slices]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        bounds = np.cumsum([0, *(len(batch.row) for batch in batches)])
        lengths = np.concatenate([batch.lengths for batch in batches])
        return padding_waste(lengths, [np.arange(a, b) for a, b in itertools.pairwise(bounds)])

    def gather(self, chosen: Slices) -> Batch:
        """Return a batch as tensors."""
        return self.asked(self._train, chosen)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the loss a target on slices of the validation rows, the same ones after every epoch."""
        network.eval()
        device, total, n = next(network.parameters()).device, 0.0, 0
        for chosen in self._batches(self._validation, None, (0,), _VALIDATION_BATCH):
            loss, n_targets = self.loss(network, self.asked(self._validation, chosen).to(device))
            total, n = total + float(loss), n + n_targets
        loss_a_target = total / max(n, 1)
        return {"validation_loss": loss_a_target, "validation_metric": -loss_a_target, "monitor": "negative loss"}

    def _batches(
        self, rows: Rows, rng: np.random.Generator | None, seed: tuple[int, ...], sizes: Mapping[str, Any]
    ) -> list[Slices]:
        """Cut whole histories into windows; see `cover`."""
        windows = cover(rows.begin, rows.end, self.max_length - 1, rng)
        batches = length_batches(windows.lengths, rng=rng, **sizes)
        owner = np.searchsorted(rows.begin, windows.start, side="right") - 1
        return [
            rows.slices(owner[chosen], windows.start[chosen], windows.stop[chosen], (*seed, number))
            for number, chosen in enumerate(batches)
        ]
