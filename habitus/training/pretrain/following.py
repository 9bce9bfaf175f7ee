"""The study of "next": after every event of a slice, the fields of the one that follows and the time until then."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from habitus.data.batch import Batch, Upcoming
from habitus.training.pretrain.slices import Rows, Slices, SliceStudy


class FollowingStudy(SliceStudy):
    """Every event but the first of a slice is a target."""

    @property
    def n_targets(self) -> int:
        """Every event but the first of each history."""
        return max(1, int((self._train.end - self._train.begin - 1).clip(0).sum()))

    def asked(self, rows: Rows, chosen: Slices) -> Batch:
        """Return a batch whose steps are asked for the next one."""
        batch = rows.gather(chosen)
        steps = torch.arange(batch.is_step.shape[1])
        upcoming = Upcoming(
            ids={name: ids.roll(-1, 1) for name, ids in batch.ids.items()},
            numbers={name: values.roll(-1, 1) for name, values in batch.numbers.items()},
            gap_days=batch.gap_days.roll(-1, 1),
            is_target=steps < batch.lengths[:, None] - 1,
            gap_known=torch.zeros(len(batch.lengths), dtype=torch.bool),
        )
        return replace(batch, upcoming=upcoming)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over targets, and their number."""
        assert batch.upcoming is not None, "asked says what follows"
        return network(batch), int(batch.upcoming.is_target.sum())
