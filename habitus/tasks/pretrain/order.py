"""Which kinds of events stood close and which way round: told from the pooled state of a slice.

    pair     an event of kind a, then one of kind b within a day, a week, a week that ended in the last month, ever
    recent   an event of kind a within a week, a month, a quarter before the slice is looked at
    count    log(1 + events of kind a)

A state cannot hold all of them, and most say no more than how often each kind occurs. Asked are the collocations
(Church & Hanks 1990, "Word association norms, mutual information, and lexicography"): what is true of more slices than
it is of the same slices with their events shuffled over their moments, by z > 4, each by the square of the difference
in deviations. Differs from the paper in the comparison, which keeps an entity's own tastes and rhythm; and where a
pair is asked, so is the same pair the other way round. Kinds are the most frequent values of each category field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from habitus.data.batch import Batch
from habitus.fields.category import N_RESERVED

MOST_KINDS = 32  # a field
PAIR_DAYS = (
    (1.0, None),
    (7.0, None),
    (7.0, 30.0),
    (float("inf"), None),
)  # apart at most, and ended at most so long ago
RECENT_DAYS = (7.0, 30.0, 90.0)
_RAREST_VARIANCE = 0.005  # of a statistic that is asked: true of one slice in 200
_SMALLEST_Z = 4.0


class OrderHead(nn.Module):
    """Tell the statistics of a slice from its pooled state.

    Args:
        sizes: values of each category field, the reserved ones included.
        width: D.

    Attributes:
        weight: of each statistic in the loss, (S,); all 0 before `measure`.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, sizes: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.kinds = {name: min(size - N_RESERVED, MOST_KINDS) for name, size in sizes.items() if size > N_RESERVED}
        n = sum(_n_statistics(n_kinds) for n_kinds in self.kinds.values())
        self.tell = nn.Linear(width, n)
        for name, value in (("mean", 0.0), ("deviation", 1.0), ("weight", 0.0)):
            self.register_buffer(name, torch.full((n,), value))

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return what is told, in deviations from the mean, (B, S)."""
        told: Tensor = self.tell(pooled_BD)
        return told

    def loss(self, told_BS: Tensor, batch: Batch) -> Tensor:
        """Return the weighted mean over statistics of the squared error in deviations, summed over slices."""
        asked = self.weight.nonzero()[:, 0]
        target_BA = (self._statistics(batch)[:, asked] - self.mean[asked]) / self.deviation[asked]
        error_BA = (told_BS[:, asked].float() - target_BA).square()
        return (error_BA * self.weight[asked]).sum() / self.weight.sum().clamp(min=1e-12)

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch], seed: int = 0) -> None:
        """Find out how often each statistic holds, and which of them are asked."""
        shuffle, n = torch.Generator().manual_seed(seed), 0
        total, square, by_chance = (torch.zeros(len(self.weight), dtype=torch.float64) for _ in range(3))
        for batch in batches:
            found = self._statistics(batch).double()
            total, square, n = total + found.sum(0), square + found.square().sum(0), n + len(found)
            by_chance += self._statistics(_shuffled(batch, shuffle)).sum(0)
        variance = square / n - (total / n).square()
        deviation = variance.clamp(min=_RAREST_VARIANCE).sqrt()
        effect = (total - by_chance) / n / deviation
        asked = (effect > _SMALLEST_Z * (2 / n) ** 0.5) & (variance > _RAREST_VARIANCE)
        weight = torch.where(asked, effect.square(), 0.0).split([_n_statistics(k) for k in self.kinds.values()])
        both_ways = torch.cat([_both_ways(own, k) for own, k in zip(weight, self.kinds.values(), strict=True)])
        for name, value in (("mean", total / n), ("deviation", deviation), ("weight", both_ways)):
            self.get_buffer(name).copy_(value)

    def _statistics(self, batch: Batch) -> Tensor:
        own = [statistics(batch.ids[name], batch.age_days, batch.is_step, k) for name, k in self.kinds.items()]
        return torch.cat(own, 1)


def statistics(ids_BT: Tensor, age_days_BT: Tensor, is_step_BT: Tensor, n_kinds: int) -> Tensor:
    """Return pair (by kind a, then kind b), recent and count of the first kinds of a field, float32 (B, S)."""
    kinds = torch.arange(N_RESERVED, N_RESERVED + n_kinds, device=ids_BT.device)
    is_kind_BTK = ((ids_BT[..., None] == kinds) & is_step_BT[..., None]).float()
    apart_BTT = age_days_BT[:, :, None] - age_days_BT[:, None, :]
    later_TT = torch.ones(apart_BTT.shape[1:], dtype=torch.bool, device=ids_BT.device).triu(1)
    found = []
    for days, ago in PAIR_DAYS:
        close_BTT = (apart_BTT <= days) & later_TT
        if ago is not None:
            close_BTT = close_BTT & (age_days_BT <= ago)[:, None]
        found.append((is_kind_BTK.transpose(1, 2) @ close_BTT.float() @ is_kind_BTK > 0).float().flatten(1))
    found += [(is_kind_BTK * (age_days_BT <= days)[..., None]).amax(1) for days in RECENT_DAYS]
    return torch.cat([*found, is_kind_BTK.sum(1).log1p()], 1)


def _n_statistics(n_kinds: int) -> int:
    return n_kinds * n_kinds * len(PAIR_DAYS) + n_kinds * (len(RECENT_DAYS) + 1)


def _both_ways(weight_S: Tensor, n_kinds: int) -> Tensor:
    """Let a pair weigh what the heavier of its two directions does."""
    n_pairs = n_kinds * n_kinds * len(PAIR_DAYS)
    pairs = weight_S[:n_pairs].view(len(PAIR_DAYS), n_kinds, n_kinds)
    return torch.cat([torch.maximum(pairs, pairs.transpose(1, 2)).flatten(), weight_S[n_pairs:]])


def _shuffled(batch: Batch, generator: torch.Generator) -> Batch:
    """Return the batch with the events of every row in another order over the same moments."""
    draw = torch.rand(batch.is_step.shape, generator=generator).masked_fill(~batch.is_step, 2.0)
    order = draw.argsort(1)
    return replace(batch, ids={name: ids.gather(1, order) for name, ids in batch.ids.items()})
