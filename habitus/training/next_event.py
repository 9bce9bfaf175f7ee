"""The study of next events: windows of whole histories, cut anew in every epoch, judged on one question a user.

Every event after a user's first is a target once an epoch; a cut that moves from epoch to epoch gives it contexts of
different lengths. The loss is made inside the network, which never holds the scores of a whole batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from habitus.data.batch import Batch
from habitus.data.histories import Windows, cover
from habitus.data.loader import length_batches, padding_waste
from habitus.data.next_batch import HistoryTensors
from habitus.metrics.rank import ranking_metrics
from habitus.tasks.next_event import NextEventNetwork
from habitus.tasks.ranking import Questions, rank_targets
from habitus.training.optim import Training

_MOST_QUESTIONS = 10_000  # asked after an epoch


@dataclass(frozen=True)
class NextEventStudy:
    """Windows to learn from and questions to judge by.

    Args:
        tensors: all histories.
        begin, stop: int64 (n,), the training part of each history as positions of the flat arrays.
        questions: of validation.
        max_length: most inputs in a window.
        item: the field that is asked.
        filter_seen: judge on items that are new to the user.
    """

    tensors: HistoryTensors
    begin: np.ndarray
    stop: np.ndarray
    questions: Questions
    max_length: int
    item: str
    filter_seen: bool = True

    @property
    def n_rows(self) -> int:
        """Windows of an epoch, about."""
        return len(cover(self.begin, self.stop, self.max_length))

    @property
    def n_targets(self) -> int:
        """Targets of an epoch."""
        return int(np.maximum(self.stop - self.begin - 1, 0).sum())

    @property
    def n_events(self) -> int:
        """Events read in an epoch: as many as targets."""
        return self.n_targets

    def epoch_batches(self, epoch: int, training: Training, seed: int, process: int, n_processes: int) -> list[Windows]:
        """Return windows of similar length together; cuts and order are a function of seed and epoch."""
        rng = np.random.default_rng([seed, epoch])
        windows = cover(self.begin, self.stop, self.max_length, rng)
        batches = length_batches(
            windows.lengths - 1,
            batch_tokens=training.batch_tokens,
            batch_rows=training.batch_rows,
            rng=rng,
            by_length=training.by_length,
        )
        n_each = -(-len(batches) // n_processes)
        chosen = [batches[i % len(batches)] for i in range(process, n_each * n_processes, n_processes)]
        return [windows.take(rows) for rows in chosen]

    def padding_waste(self, batches: list[Windows]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        lengths = np.concatenate([batch.lengths - 1 for batch in batches])
        bounds = np.cumsum([0, *(len(batch) for batch in batches)])
        return padding_waste(lengths, [np.arange(a, b) for a, b in itertools.pairwise(bounds)])

    def gather(self, chosen: Windows) -> Batch:
        """Return windows as inputs and targets."""
        return self.tensors.training(chosen)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over targets, and their number."""
        assert batch.upcoming is not None, "a training batch has targets"
        return network(batch), int(batch.upcoming.is_target.sum())

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the NDCG@10 of the validation questions; the loss is its shortfall."""
        assert isinstance(network, NextEventNetwork), type(network)
        questions = self.questions.first(_MOST_QUESTIONS)
        ranks = rank_targets(network, self.tensors, questions, filter_seen=self.filter_seen)
        metric = ranking_metrics(ranks)["ndcg@10"].value
        return {"validation_loss": 1 - metric, "validation_metric": metric, "monitor": "ndcg@10"}
