"""The study of "contrastive": several slices of each history in a batch, to be told from those of other entities.

Slices are drawn as in CoLES (arXiv:2002.08232, section 3.2, random slices): a length, then a place. Entities stand in
a batch with others whose slices are about as long, so that length alone does not tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.batch import Batch
from habitus.data.loader import length_batches
from habitus.errors import DataError
from habitus.tasks.pretrain.contrastive import ContrastiveHead, share_recognised
from habitus.training.pretrain.slices import Rows, Slices, SliceStudy


class ContrastiveStudy(SliceStudy):
    """Every slice is a target; `batch_rows` counts entities."""

    @property
    def n_targets(self) -> int:
        """The slices of all histories that are long enough."""
        return len(self._long_enough(self._train)) * self.task.slices

    def asked(self, rows: Rows, chosen: Slices) -> Batch:
        """Return slices, each with the number of its entity as target."""
        return replace(rows.gather(chosen), target=torch.from_numpy(chosen.row))

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over slices, and their number."""
        assert batch.target is not None and isinstance(network.head, ContrastiveHead)
        return network.head.loss(network(batch).float(), batch.target), len(batch.target)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the loss a slice, and the share of slices whose nearest other one in the batch is the entity's own."""
        network.eval()
        device, total, right, n = next(network.parameters()).device, 0.0, 0.0, 0
        sizes = {"batch_tokens": 65_536, "batch_rows": 64}
        for chosen in self._batches(self._validation, None, (0,), sizes):
            batch = self.asked(self._validation, chosen).to(device)
            loss, n_slices = self.loss(network, batch)
            assert batch.target is not None
            total, n = total + float(loss), n + n_slices
            right += share_recognised(network(batch).float(), batch.target) * n_slices
        metric = right / max(n, 1)
        return {"validation_loss": total / max(n, 1), "validation_metric": metric, "monitor": "share recognised"}

    def _long_enough(self, rows: Rows) -> np.ndarray:
        lengths = rows.end - rows.begin
        found = np.flatnonzero(lengths * self.task.longest_share >= self.task.shortest)
        if len(found) < 2:
            raise DataError(
                f"{len(found)} of {len(lengths):,} histories are long enough for slices of {self.task.shortest} events "
                f"that are at most {self.task.longest_share:.0%} of the whole; lower shortest, or use another "
                "objective."
            )
        return found

    def _batches(
        self, rows: Rows, rng: np.random.Generator | None, seed: tuple[int, ...], sizes: Mapping[str, Any]
    ) -> list[Slices]:
        """Draw slices of every history, and put entities with slices of similar length together."""
        draw = np.random.default_rng([*seed, 0])
        who, n = self._long_enough(rows), self.task.slices
        history = (rows.end - rows.begin)[who]
        longest = np.minimum((history * self.task.longest_share).astype(np.int64), self.max_length)
        length = draw.integers(self.task.shortest, longest[:, None] + 1, (len(who), n))
        start = rows.begin[who][:, None] + draw.integers(0, history[:, None] - length + 1)
        batches = length_batches(length.max(1) * n, rng=rng, **sizes)
        return [
            rows.slices(np.repeat(who[b], n), start[b].ravel(), (start + length)[b].ravel(), (*seed, number))
            for number, b in enumerate(batches)
            if len(b) > 1
        ]
