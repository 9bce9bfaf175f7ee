"""The study of tags: windows of whole histories, in which every labelled event is learned once an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from habitus.data.batch import Batch
from habitus.data.loader import padding_waste
from habitus.data.tags.tagged import UNLABELLED
from habitus.errors import DataError
from habitus.tasks.tag import Tag
from habitus.tasks.tag_network import TagNetwork, TagTensors, tag_rows
from habitus.training.optim import Training
from habitus.training.study import sampled


class TagStudy:
    """Windows to learn from, and rows to judge by.

    Args:
        task: gives the validation metric.
        train_rows, validation_rows: as tensors.
    """

    def __init__(self, task: Tag, train_rows: TagTensors, validation_rows: TagTensors) -> None:
        self.task, self._train, self._validation = task, train_rows, validation_rows
        self.n_rows = len(train_rows.windows)
        self.n_targets = int((train_rows.labels != UNLABELLED).sum())
        self.n_events = int(train_rows.windows.lengths.sum())
        for rows, part in ((train_rows, "training"), (validation_rows, "validation")):
            if not (rows.labels != UNLABELLED).any():
                raise DataError(f"No event of the {part} part has a label; give more data, or another split.")

    def epoch_batches(
        self, epoch: int, training: Training, seed: int, process: int, n_processes: int
    ) -> list[np.ndarray]:
        """Return the windows of each batch, similar lengths together."""
        return sampled(self._train.windows.lengths, epoch, training, seed, process, n_processes)

    def padding_waste(self, batches: list[np.ndarray]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        return padding_waste(self._train.windows.lengths, batches)

    def gather(self, chosen: np.ndarray) -> Batch:
        """Return a batch as tensors."""
        return self._train.gather(self._train.windows.take(chosen))

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over labelled events, and their number."""
        assert batch.target is not None, "a batch is gathered with its labels"
        return network(batch), int((batch.target != UNLABELLED).sum())

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the task's metric on the validation rows; where it has no value, the negative loss."""
        assert isinstance(network, TagNetwork), type(network)
        answer, loss, n_labelled = tag_rows(network, self._validation)
        loss /= n_labelled
        metric, monitor = self.task.monitor_value(self._validation.rows, answer), self.task.monitor
        if not math.isfinite(metric):  # such as the AUC of one label
            metric, monitor = -loss, "negative loss"
        return {"validation_loss": loss, "validation_metric": metric, "monitor": monitor}
