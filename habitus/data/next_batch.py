"""Batches of next-event prediction: windows of whole histories as padded tensors.

The flat arrays of `Histories` are kept once as tensors; `training` shifts a window by one event to get its targets,
`question` ends where the event to predict begins. Nothing of a step depends on what comes after it: ages count from
the window's first event in training, where every step asks (so that they are negative), and back from the last one in
a question, where that tells recent events apart best; the gap to the next event is read only where it is a given.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from habitus.data.batch import Batch, Upcoming
from habitus.data.clock import DAY_US, HOUR_US
from habitus.data.histories import Histories, Windows
from habitus.fields.category import MISSING, PAD


class HistoryTensors:
    """The histories of a log as tensors, ready to be gathered into batches.

    Args:
        histories: of all entities; one stand-in event with all fields MISSING is added for windows without events.
    """

    def __init__(self, histories: Histories) -> None:
        self.histories = histories
        self._n_events = len(histories.time_us)
        self._ids = {name: _with_last(ids, MISSING) for name, ids in histories.ids.items()}
        self._numbers = {name: _with_last(values, [0.0, 1.0]) for name, values in histories.numbers.items()}
        self._time_us = _with_last(histories.time_us, 0)
        gap = np.diff(histories.time_us, prepend=histories.time_us[:1])
        gap[histories.offsets[:-1][histories.lengths > 0]] = 0
        self._gap_days = _with_last((gap / DAY_US).astype(np.float32), 0.0)

    def training(self, windows: Windows) -> Batch:
        """Return windows as inputs and targets: every event but the last is read, every event but the first asked."""
        return self._batch(windows.start, windows.lengths - 1, at_us=None, with_targets=True)

    def question(self, windows: Windows, at_us: np.ndarray | None = None) -> Batch:
        """Return windows as inputs alone; `at_us` (n,) says when the next event happens, where that is a given."""
        return self._batch(windows.start, windows.lengths, at_us=at_us, with_targets=False)

    def steps(self, windows: Windows) -> Batch:
        """Return windows as inputs alone for answers at every step: no age depends on what comes after."""
        return self._batch(windows.start, windows.lengths, at_us=None, with_targets=False, at_every_step=True)

    def write(self, at: np.ndarray, values: dict[str, np.ndarray], time_us: np.ndarray) -> None:
        """Put an event at each position `at` (n,), where room was left after an earlier event of the same history.

        Args:
            at: int64 (n,), none of them the first of a history.
            values: of some fields, (n,) ids or (n, 2) numbers; other fields stay as the room has them.
            time_us: int64 (n,), when the events happen.
        """
        place, moment = torch.from_numpy(at), torch.from_numpy(time_us)
        for name, found in values.items():
            table = self._ids[name] if name in self._ids else self._numbers[name]
            table[place] = torch.from_numpy(found).to(table.dtype)
        self._gap_days[place] = ((moment - self._time_us[place - 1]).double() / DAY_US).float()
        self._time_us[place] = moment

    def _batch(
        self,
        start: np.ndarray,
        length: np.ndarray,
        *,
        at_us: np.ndarray | None,
        with_targets: bool,
        at_every_step: bool = False,
    ) -> Batch:
        own = torch.from_numpy(np.ascontiguousarray(length))
        lengths = own.clamp_min(1)
        n_steps = int(lengths.max())
        steps = torch.arange(n_steps)
        is_step = steps < lengths[:, None]
        index = torch.from_numpy(np.ascontiguousarray(start))[:, None] + steps
        index = torch.where(is_step & (own > 0)[:, None], index, self._n_events)
        time_us = self._time_us[index]
        origin_us = time_us[:, :1] if with_targets or at_every_step else time_us.gather(1, (lengths - 1)[:, None])
        day = time_us.div(DAY_US, rounding_mode="floor")
        return Batch(
            ids={name: ids[index].long().masked_fill_(~is_step, PAD) for name, ids in self._ids.items()},
            numbers={name: values[index] for name, values in self._numbers.items()},
            age_days=((origin_us - time_us).double() / DAY_US).float().masked_fill_(~is_step, 0.0),
            gap_days=self._gap_days[index],
            hour=(time_us - day * DAY_US).div(HOUR_US, rounding_mode="floor"),
            weekday=(day + 3) % 7,  # 1970-01-01 was a Thursday
            bag_weights={},
            lengths=lengths,
            is_step=is_step,
            profile_ids={},
            profile_numbers={},
            offset=None,
            target=None,
            has_padding=bool((lengths != n_steps).any()),
            upcoming=None
            if at_every_step
            else self._upcoming(index, is_step, lengths, at_us, with_targets=with_targets),
        )

    def _upcoming(
        self, index: Tensor, is_step: Tensor, lengths: Tensor, at_us: np.ndarray | None, *, with_targets: bool
    ) -> Upcoming:
        """Return the event after each step; after the last step of a question comes the query time, or nothing."""
        if with_targets:
            following, is_target = (index + 1).clamp_max(self._n_events), is_step
        else:
            is_target = torch.zeros_like(is_step)
            following = torch.cat([index[:, 1:], torch.full_like(index[:, :1], self._n_events)], dim=1)
        gap_days = self._gap_days[following].masked_fill_(~is_step, 0.0)
        if at_us is not None:
            last = (lengths - 1)[:, None]
            wait_us = torch.from_numpy(at_us) - self._time_us[index.gather(1, last)[:, 0]]
            gap_days.scatter_(1, last, (wait_us.double() / DAY_US).float()[:, None])
        return Upcoming(
            ids={name: ids[following].long().masked_fill_(~is_target, PAD) for name, ids in self._ids.items()}
            if with_targets
            else {},
            numbers={name: values[following] for name, values in self._numbers.items()} if with_targets else {},
            gap_days=gap_days,
            is_target=is_target,
            gap_known=torch.full((len(lengths),), at_us is not None),
        )


def _with_last(values: np.ndarray, stand_in: object) -> Tensor:
    last = np.asarray(stand_in, dtype=values.dtype).reshape(1, *values.shape[1:])
    return torch.from_numpy(np.concatenate([values, last]))
