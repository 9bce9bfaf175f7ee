"""The study of "masked": some events of a slice are hidden or replaced, and their fields are told from all others.

Devlin et al. 2019, "BERT", arXiv:1810.04805, section 3.1. Differs from the paper: all fields of an event are hidden
together, its time is not, and every slice has at least one event that is asked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.batch import Batch, Upcoming
from habitus.fields.category import PAD
from habitus.training.pretrain.slices import Rows, Slices, SliceStudy

_HIDDEN, _REPLACED = 0.8, 0.1  # shares of the events that are asked; the rest stays as it is


class MaskedStudy(SliceStudy):
    """A share of the events of each slice is asked."""

    @property
    def n_targets(self) -> int:
        """A share of all events."""
        return max(1, round(self.task.mask_share * self.n_events))

    def asked(self, rows: Rows, chosen: Slices) -> Batch:
        """Return a batch in which some events are hidden or replaced."""
        batch = rows.gather(chosen)
        rng = np.random.default_rng([*chosen.seed, 2])
        is_target = _drawn(batch.is_step, self.task.mask_share, rng)
        fate = torch.from_numpy(rng.random(is_target.shape))
        hidden = is_target & (fate < _HIDDEN)
        replaced = is_target & (fate >= _HIDDEN) & (fate < _HIDDEN + _REPLACED)
        other = _other_steps(batch.is_step, rng)
        upcoming = Upcoming(
            ids=batch.ids,
            numbers=batch.numbers,
            gap_days=batch.gap_days,
            is_target=is_target,
            gap_known=torch.zeros(len(batch.lengths), dtype=torch.bool),
        )

        def corrupted(values: Tensor, nothing: float) -> Tensor:
            """Put another step's value, or nothing, in place of some of (B, T, ...)."""
            another = values.flatten(0, 1)[other].view_as(values)
            wide = (..., *[None] * (values.ndim - 2))
            values = torch.where(replaced[wide], another, values)
            return values.masked_fill(hidden[wide], nothing)

        ids = {name: corrupted(values, PAD) for name, values in batch.ids.items()}
        numbers = {name: corrupted(values, 0.0) for name, values in batch.numbers.items()}
        return replace(batch, ids=ids, numbers=numbers, hidden=hidden, upcoming=upcoming)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over the events that are asked, and their number."""
        assert batch.upcoming is not None, "asked says which events are hidden"
        return network(batch), int(batch.upcoming.is_target.sum())


def _drawn(is_step: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Return which steps are asked, bool (B, T): a share of them, and at least one of each row."""
    draw = torch.from_numpy(rng.random(is_step.shape)).masked_fill(~is_step, 2.0)
    return (draw < share) | (draw == draw.amin(1, keepdim=True)) & is_step


def _other_steps(is_step: Tensor, rng: np.random.Generator) -> Tensor:
    """Return for each slot a step of the batch drawn at random, int64 (B * T,)."""
    steps = is_step.flatten().nonzero()[:, 0]
    return steps[torch.from_numpy(rng.integers(0, len(steps), is_step.numel()))]
