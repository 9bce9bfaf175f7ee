"""The study of pairs: batches of similar source and target length, the loss of every target token, BLEU as judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.pairs.batch import PairBatch, PairTensors, pair_batches, pair_waste
from habitus.data.pairs.table import PairRows
from habitus.metrics.text import bleu_of, choose_tokenizer, text_sums
from habitus.tasks.generate import Generate, GenerateNetwork
from habitus.training.optim import Training

_MOST_JUDGED = 1000  # pairs that are written after an epoch


class PairStudy:
    """Pairs to learn from, and pairs to judge by.

    Args:
        task: gives the tokenizer of BLEU.
        train_rows, validation_rows: the pairs.
        answer: writes the answers to pairs, greedily: (network, rows) -> texts or token lists.
    """

    def __init__(
        self,
        task: Generate,
        train_rows: PairRows,
        validation_rows: PairRows,
        answer: Callable[[GenerateNetwork, PairRows], Sequence[Any]],
    ) -> None:
        self._train, self._validation = PairTensors(train_rows), PairTensors(validation_rows)
        self._judged = validation_rows.take(np.arange(min(len(validation_rows), _MOST_JUDGED)))
        self._answer, self._task = answer, task
        self.n_rows, self.n_targets = len(train_rows), int(self._train.target_lengths.sum())
        self.n_events = self.n_targets + int(self._train.source_lengths.sum())

    def epoch_batches(
        self, epoch: int, training: Training, seed: int, process: int, n_processes: int
    ) -> list[np.ndarray]:
        """Return the rows of each batch, similar lengths together; a function of seed and epoch."""
        batches = self._batches(self._train, training.batch_tokens, training.batch_rows, [seed, epoch])
        n_each = -(-len(batches) // n_processes)
        return [batches[i % len(batches)] for i in range(process, n_each * n_processes, n_processes)]

    def padding_waste(self, batches: list[np.ndarray]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        return pair_waste(self._train.source_lengths, self._train.target_lengths, batches)

    def gather(self, chosen: np.ndarray) -> PairBatch:
        """Return a batch as tensors."""
        return self._train.gather(chosen)

    def loss(self, network: nn.Module, batch: PairBatch) -> tuple[Tensor, int]:
        """Return the loss summed over target tokens, and their number."""
        return network(batch), int(batch.target_lengths.sum())

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the BLEU of greedy answers, and the loss a token without smoothing."""
        assert isinstance(network, GenerateNetwork), type(network)
        network.eval()
        answers = self._answer(network, self._judged)
        assert self._judged.targets is not None, "validation pairs have targets"
        truth = self._judged.targets.to_list()
        sums = text_sums(truth, answers, choose_tokenizer(truth, self._task.bleu_tokenizer)).bleu.sum(axis=0)
        return {
            "validation_loss": self._validation_loss(network),
            "validation_metric": float(bleu_of(sums[None])[0]),
            "monitor": "bleu",
        }

    @torch.no_grad()
    def _validation_loss(self, network: GenerateNetwork) -> float:
        device = next(network.parameters()).device
        batches = self._batches(self._validation, 8192, 128, None)
        total = sum(float(network.plain_loss(self._validation.gather(rows).to(device))) for rows in batches)
        return total / max(int(self._validation.target_lengths.sum()), 1)

    @staticmethod
    def _batches(tensors: PairTensors, tokens: int, rows: int, seed: list[int] | None) -> list[np.ndarray]:
        rng = None if seed is None else np.random.default_rng(seed)
        return pair_batches(
            tensors.source_lengths, tensors.target_lengths, batch_tokens=tokens, batch_rows=rows, rng=rng
        )
