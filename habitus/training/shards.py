"""A study of rows in files: each process reads its own files, one at a time, and all take equally many steps.

For training on several processes or machines, and for more rows than memory holds. Batches are formed within a file;
the order of the files and of the batches in them is drawn anew each epoch. Files differ in size, so the processes agree
on the number of steps: the one with the most batches decides, and the others begin their epoch again from its start.
The batch of a step is divided among the processes, so that a learning rate means the same on one and on many.
Validation rows are divided too; every process judges the answers of all and so comes to the same decisions.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from habitus.data.batch import Batch, SequenceTensors
from habitus.data.loader import length_batches, padding_waste
from habitus.errors import DataError
from habitus.tasks.base import Task
from habitus.training.optim import Training
from habitus.training.study import judged, loss_of, score

Read = Callable[[Path], SequenceTensors]
Chosen = tuple[int, np.ndarray]  # number of a file, and rows in it


class ShardStudy:
    """Rows in files, for every task that answers for a whole sequence.

    Args:
        task: gives the loss and the validation metric.
        train, validation: all files, the same on every process; each takes its share by its number.
        read: gives the rows of a file of `train`, with targets; files without rows are allowed.
        read_validation: the same for `validation`.
        process, n_processes: which of how many this is.
    """

    def __init__(
        self,
        task: Task,
        train: Sequence[Path],
        validation: Sequence[Path],
        read: Read,
        read_validation: Read,
        process: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.task, self._read, self._read_validation = task, read, read_validation
        self._train, self._validation = train[process::n_processes], validation[process::n_processes]
        self._first, self._stride = process, n_processes
        self._open: tuple[int, SequenceTensors] | None = None
        self._lengths = [self._rows(number).lengths.numpy() for number in range(len(self._train))]
        counts = torch.tensor([[len(lengths), lengths.sum()] for lengths in [*self._lengths, np.zeros(0, int)]])
        self.n_rows, self.n_events = (int(one) for one in _reduced(counts.sum(0), "sum"))
        self.n_targets = self.n_rows

    def epoch_batches(self, epoch: int, training: Training, seed: int, process: int, n_processes: int) -> list[Chosen]:
        """Return this process's batches of an epoch, file after file; as many as every other process has."""
        assert (process, n_processes) == (self._first, self._stride), (process, n_processes)
        share = replace(
            training,
            batch_tokens=max(1, training.batch_tokens // n_processes),
            batch_rows=max(1, training.batch_rows // n_processes),
        )
        order = np.random.default_rng([seed, epoch, process]).permutation(len(self._train)).tolist()
        batches = [batch for number in order for batch in self._batches_of(number, epoch, share, seed)]
        if not batches:
            raise DataError(
                f"Process {process} of {n_processes} has no row to train on; use fewer processes, or more files."
            )
        n_steps = int(_reduced(torch.tensor([len(batches)]), "max")[0])
        return [batches[i % len(batches)] for i in range(n_steps)]

    def padding_waste(self, batches: list[Chosen]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        lengths = [self._lengths[number][rows] for number, rows in batches]
        bounds = np.cumsum([0, *map(len, lengths)])
        own = [np.arange(low, high) for low, high in itertools.pairwise(bounds)]
        return padding_waste(np.concatenate([*lengths, np.zeros(0, int)]), own)

    def gather(self, chosen: Chosen) -> Batch:
        """Return a batch as tensors; its file is read when the one before is done."""
        number, rows = chosen
        return self._rows(number).gather(rows)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over rows, and the number of rows."""
        return loss_of(self.task, network, batch)

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the monitor on the validation rows of all processes."""
        outputs, targets = [], []
        for path in self._validation:
            rows = self._read_validation(path)
            if len(rows):
                assert rows.target is not None, "validation rows need a target"
                outputs.append(score(network, rows))
                targets.append(rows.target.numpy())
        found = _gathered((outputs, targets))
        every = [np.concatenate([array for one in found for array in one[side]]) for side in (0, 1)]
        return judged(self.task, every[0], torch.from_numpy(every[1]))

    def _rows(self, number: int) -> SequenceTensors:
        if self._open is None or self._open[0] != number:
            self._open = None  # two files are never in memory together
            self._open = number, self._read(self._train[number])
        return self._open[1]

    def _batches_of(self, number: int, epoch: int, training: Training, seed: int) -> list[Chosen]:
        rng = np.random.default_rng([seed, epoch, self._first + number * self._stride])
        batches = length_batches(
            self._lengths[number],
            batch_tokens=training.batch_tokens,
            batch_rows=training.batch_rows,
            rng=rng,
            by_length=training.by_length,
        )
        return [(number, rows) for rows in batches]


def rank_of_environment() -> tuple[int, int]:
    """Return which process of how many this is, as torchrun says; (0, 1) without it."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _reduced(values: Tensor, how: str) -> Tensor:
    """Return the sum or the largest over all processes; the values themselves where there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values, distributed.ReduceOp.SUM if how == "sum" else distributed.ReduceOp.MAX)
    return values


def _gathered(value: Any) -> list[Any]:
    """Return what every process gives, in their order."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found
