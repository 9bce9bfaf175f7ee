"""Windows of series as tensors: contexts, calendars of past and future, and targets.

The overlapping windows of a series are gathered from one copy of it by index.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from habitus.data.batch import Batch
from habitus.data.series.rows import Origins


@dataclass(frozen=True)
class SeriesBatch:
    """Windows of B origins; T steps of context, K of horizon, V variables, C calendar values.

    Args:
        values_BTV: float32, on the scale of the training part, filled where nothing was seen.
        seen_BTV: bool, whether the log has the value.
        calendar_BTC, future_BKC: int64.
        target_BKV: float32, on the scale of the training part; 0 where `is_target` is False.
        is_target_BKV: bool.
        lengths: int64 (B,), T each.
    """

    values_BTV: Tensor
    seen_BTV: Tensor
    calendar_BTC: Tensor
    future_BKC: Tensor
    target_BKV: Tensor
    is_target_BKV: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> SeriesBatch:
        """Return the batch on a device (itself if it is there already)."""
        if self.lengths.device == device:
            return self
        return SeriesBatch(*(getattr(self, item.name).to(device) for item in fields(self)))


class OriginTensors:
    """Origins as tensors, ready to be gathered into batches.

    Args:
        origins: places to forecast from.
    """

    def __init__(self, origins: Origins) -> None:
        self.origins = origins
        number = np.repeat(np.arange(len(origins.table)), origins.table.lengths)
        scales, values = origins.scales, origins.table.values
        scaled = (values - scales.center[number]) / scales.scale[number]
        self._filled = torch.from_numpy(origins.filled)
        self._seen = torch.from_numpy(origins.table.seen)
        self._true = torch.from_numpy(np.nan_to_num(scaled, nan=0.0).astype(np.float32))
        self._calendar = torch.from_numpy(origins.calendar_ids)

    def gather(self, rows: np.ndarray) -> SeriesBatch:
        """Return the windows of some origins."""
        chosen = self.origins.take(rows)
        places, begun = (torch.from_numpy(one) for one in chosen.context_steps())
        ahead = torch.from_numpy(chosen.target_steps())
        return SeriesBatch(
            values_BTV=self._filled[places],
            seen_BTV=self._seen[places] & begun[..., None],
            calendar_BTC=self._calendar[places],
            future_BKC=self._calendar[ahead],
            target_BKV=self._true[ahead],
            is_target_BKV=self._seen[ahead],
            lengths=torch.full((len(rows),), chosen.context),
        )


def steps_as_batch(steps_BTD: Tensor, step_days: float) -> Batch:
    """Return the batch that a backbone reads beside step vectors: no padding, steps apart by a fixed time.

    >>> steps_as_batch(torch.zeros(1, 3, 2), step_days=0.5).age_days.tolist()
    [[1.5, 1.0, 0.5]]
    """
    n_rows, n_steps = steps_BTD.shape[:2]
    device = steps_BTD.device
    age_days = torch.arange(n_steps, 0, -1, device=device).float() * step_days
    nothing = torch.zeros(n_rows, n_steps, dtype=torch.long, device=device)
    return Batch(
        ids={},
        numbers={},
        age_days=age_days.expand(n_rows, -1),
        gap_days=torch.full((n_rows, n_steps), step_days, device=device),
        hour=nothing,
        weekday=nothing,
        bag_weights={},
        lengths=torch.full((n_rows,), n_steps, device=device),
        is_step=torch.ones(n_rows, n_steps, dtype=torch.bool, device=device),
        profile_ids={},
        profile_numbers={},
        offset=None,
        target=None,
        has_padding=False,
    )
