"""The network of forecasts: patches of the context through a backbone, beside a straight line from past to future.

    context (B,T,V) --own scale out--+-- linear T -> K --------------------------------(B,K,V)--+
                                     +-- patches -- backbone -- states -- summary --+-- centre -+-- median
                                     calendar of each future step ------------------+-- distances -- quantiles

The linear path alone is a strong forecaster (Zeng et al. 2023, arXiv:2205.13504); the backbone's part starts at zero,
so that training begins with the linear one and adds what bends. Patches are of PatchTST (Nie et al. 2023,
arXiv:2211.14730); differs from the paper in that they do not overlap, in the linear path, and in the calendar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.tasks.forecast import Forecast
from habitus.tasks.forecast_batch import SeriesBatch, steps_as_batch
from habitus.tasks.network import Backbone

_PATCH, _FEWEST_PATCHES = 16, 8
_EPSILON = 1e-5  # added to the variance of a window
_INIT_STD = 0.02
_FIRST_DISTANCE = -1.5  # softplus of it, about 0.2, is how far neighbouring deciles of a window are apart, roughly


@dataclass(frozen=True)
class Shape:
    """What the data decides of the network: T, K, V, sizes of the calendar's values, and days a step."""

    context: int
    horizon: int
    n_variables: int
    calendar: Mapping[str, int]
    step_days: float


class ForecastNetwork(nn.Module):
    """Context, its flags and the calendar -> outputs (B, K, V, R) on the scale of the training part.

    R is the number of quantiles, or 1.

    Args:
        shape: of the data.
        backbone: config of a backbone.
        task: what is predicted.
    """

    def __init__(self, shape: Shape, backbone: Backbone, task: Forecast) -> None:
        super().__init__()
        self.task, self.shape = task, shape
        width = backbone.hidden_size
        together = shape.n_variables if task.variables == "joint" else 1  # variables that one row reads and answers
        self.together, self.patch = together, task.patch or default_patch(shape.context)
        self.n_patches = math.ceil(shape.context / self.patch)
        self.step = nn.Linear(2 * self.patch * together, width)
        sizes = shape.calendar if task.calendar else {}
        self.past = nn.ModuleList(_table(size, width) for size in sizes.values())
        self.future = nn.ModuleList(_table(size, width) for size in sizes.values())
        self.backbone = backbone.build()
        self.dropout = Dropout(backbone.dropout)
        self.summary = nn.Linear(self.n_patches * width, width)
        self.linear = nn.Linear(shape.context, shape.horizon) if task.linear else None
        self.n_distances = max(len(task.levels) - 1, 0)
        self.centre = nn.Linear(width, shape.horizon * together)
        n_all = shape.horizon * together * self.n_distances
        self.distance = nn.Linear(width, n_all) if n_all else None
        self.per_step = nn.Linear(width, together * (1 + self.n_distances))
        self._start_at_zero()

    def forward(self, batch: SeriesBatch) -> Tensor:
        """Return outputs (B, K, V, R)."""
        center_B1V, spread_B1V = self._own_scale(batch)
        z_BTV = (batch.values_BTV - center_B1V) / spread_B1V
        seen_BTV = batch.seen_BTV.to(z_BTV.dtype)
        summary_ND = self._summary(z_BTV, seen_BTV, batch.calendar_BTC)
        centre, distance = self._bent(summary_ND, batch.future_BKC)
        if self.linear is not None:
            centre = centre + self.linear(z_BTV.transpose(1, 2)).transpose(1, 2)
        output_BKVR = self._quantiles(centre, distance)
        return output_BKVR * spread_B1V[..., None] + center_B1V[..., None]

    @torch.no_grad()
    def start_from(self, weights_TK: np.ndarray) -> None:
        """Let the linear path start from weights that were found before, such as those of least squares."""
        if self.linear is not None:
            self.linear.weight.copy_(torch.from_numpy(weights_TK.T))
            self.linear.bias.zero_()

    def _own_scale(self, batch: SeriesBatch) -> tuple[Tensor, Tensor]:
        """Return what is taken out of each window, center and spread (B, 1, V); steps not seen are not counted."""
        values, seen = batch.values_BTV, batch.seen_BTV
        if self.task.normalise == "series":
            return values.new_zeros(len(values), 1, values.shape[2]), values.new_ones(len(values), 1, values.shape[2])
        if self.task.normalise == "last":
            return values[:, -1:], torch.ones_like(values[:, -1:])
        n = seen.sum(dim=1, keepdim=True).clamp_min(1)
        center = (values * seen).sum(dim=1, keepdim=True) / n
        variance = ((values - center).square() * seen).sum(dim=1, keepdim=True) / n
        return center, (variance + _EPSILON).sqrt()

    def _summary(self, z_BTV: Tensor, seen_BTV: Tensor, calendar_BTC: Tensor) -> Tensor:
        """Return what the backbone makes of each row, (B, D) joint, else (B * V, D)."""
        missing = self.n_patches * self.patch - z_BTV.shape[1]
        both = torch.stack([z_BTV * seen_BTV, seen_BTV], dim=-1)  # (B, T, V, 2)
        patches = F.pad(both, (0, 0, 0, 0, missing, 0)).unflatten(1, (self.n_patches, self.patch))
        if self.together == 1:
            patches = patches.permute(0, 3, 1, 2, 4).flatten(0, 1)  # (B * V, N, P, 2)
        steps = self.step(patches.flatten(2))
        for number, table in enumerate(self.past):
            last = calendar_BTC[:, self.patch - missing - 1 :: self.patch, number]  # of each patch
            steps = steps + self._each_variable(table(last), z_BTV.shape[2])
        states = self.backbone(self.dropout(steps), steps_as_batch(steps, self.patch * self.shape.step_days))
        return F.gelu(self.summary(self.dropout(states.flatten(1))))

    def _each_variable(self, x: Tensor, n_variables: int) -> Tensor:
        return x if self.together > 1 else x.repeat_interleave(n_variables, dim=0)

    def _bent(self, summary_ND: Tensor, future_BKC: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is added to the straight line (B, K, V), and distances of quantiles (B, K, V, Q - 1)."""
        n_rows, horizon = future_BKC.shape[:2]
        n_each = self.shape.n_variables // self.together
        both = self.centre(summary_ND).unflatten(1, (horizon, self.together, 1))
        if self.distance is not None:
            distance = self.distance(summary_ND).unflatten(1, (horizon, self.together, self.n_distances))
            both = torch.cat([both, distance], dim=-1)
        if len(self.future):
            known = sum(table(future_BKC[..., number]) for number, table in enumerate(self.future))
            assert isinstance(known, Tensor)
            bent = F.gelu(summary_ND[:, None] + self._each_variable(known, n_each))
            both = both + self.per_step(bent).unflatten(2, (self.together, 1 + self.n_distances))
        if self.together == 1:
            both = both.squeeze(2).unflatten(0, (n_rows, n_each)).transpose(1, 2)  # (B, K, V, 1 + Q - 1)
        return both[..., 0], both[..., 1:]

    def _quantiles(self, centre: Tensor, distance: Tensor) -> Tensor:
        """Return rising quantiles around the median: distances are above 0 and add up; or the one number."""
        if not self.n_distances:
            return centre[..., None]
        n_below = self.task.levels.index(0.5)
        apart = F.softplus(distance + _FIRST_DISTANCE)
        below = -apart[..., :n_below].flip(-1).cumsum(-1).flip(-1)
        above = apart[..., n_below:].cumsum(-1)
        middle = centre[..., None]
        return torch.cat([middle + below, middle, middle + above], dim=-1)

    @torch.no_grad()
    def _start_at_zero(self) -> None:
        for layer in (self.centre, self.distance, self.per_step):
            if layer is not None:
                layer.weight.zero_()
                layer.bias.zero_()
        if self.linear is not None:  # every output begins as the mean of the context
            self.linear.weight.fill_(1 / self.shape.context)
            self.linear.bias.zero_()


def default_patch(context: int) -> int:
    """Return 16 steps, or fewer where a context would give less than 8 patches.

    >>> default_patch(336), default_patch(24), default_patch(5)
    (16, 3, 1)
    """
    return max(1, min(_PATCH, context // _FEWEST_PATCHES))


def _table(size: int, width: int) -> nn.Embedding:
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, std=_INIT_STD)
    return table
