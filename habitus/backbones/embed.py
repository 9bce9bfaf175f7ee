"""From the fields of an event to one vector: embeddings of categories, projections of numbers and of time.

Each field gives a vector of the backbone's width and they are added, as in BERT (Devlin et al. 2019,
arXiv:1810.04805, section 3.2). Age and gap are read through a piecewise-linear encoding on log-spaced knots
(Gorishniy et al. 2022, arXiv:2203.05556, eq. 1), so that "within three days" is one linear step away.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from habitus.backbones.dropout import Dropout
from habitus.backbones.frames import Augment
from habitus.backbones.pretrained.config import Pretrained
from habitus.backbones.pretrained.frozen import FrozenText
from habitus.backbones.spectrum import SpectrumEmbedding
from habitus.data.batch import Batch
from habitus.data.text.in_events import field_of, pieces_of
from habitus.fields.category import PAD, UNKNOWN

# 5 minutes, 1 and 6 hours, then 1 day to 2 years
KNOTS_DAYS = (0.0, 1 / 288, 1 / 24, 0.25, 1.0, 2.0, 3.0, 5.0, 7.0, 14.0, 30.0, 60.0, 90.0, 180.0, 365.0, 730.0)
_FEW_VALUES = 256  # a field with more ids is sparse: it starts small and is subject to value dropout
_FEW_STD, _MANY_STD = 0.5, 0.05


class PiecewiseLinear(nn.Module):
    """Encode a non-negative number as how far it has passed each interval between knots, then project.

    Equation 1 of Gorishniy et al. 2022; differs from the paper in that the knots are fixed, not quantiles.
    """

    knots: Tensor

    def __init__(self, knots: Sequence[float], width: int) -> None:
        super().__init__()
        self.register_buffer("knots", torch.tensor(knots, dtype=torch.float32), persistent=False)
        self.project = nn.Linear(len(knots) - 1, width, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """(...,) -> (..., D)."""
        low, high = self.knots[:-1], self.knots[1:]
        return self.project(((values[..., None] - low) / (high - low)).clamp(0.0, 1.0))


class NumberEmbedding(nn.Module):
    """Embed a scaled number and its missing flag: linear, plus piecewise linear between training quantiles.

    The quantile form of Gorishniy et al. 2022, section 3.2.1: a small network needs it to tell thresholds apart, as
    trees do.

    Args:
        knots: ascending, on the scale of the values; fewer than two leave the linear part alone.
        width: D.
    """

    def __init__(self, knots: Sequence[float], width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2, width)
        self.bends = PiecewiseLinear(knots, width) if len(knots) > 1 else None
        for weight in (self.linear.weight, *(self.bends.parameters() if self.bends else ())):
            nn.init.normal_(weight, std=_MANY_STD)  # starts small: a number that says nothing drowns no other field
        nn.init.zeros_(self.linear.bias)

    def forward(self, values: Tensor) -> Tensor:
        """(..., 2) -> (..., D)."""
        embedded = self.linear(values)
        if self.bends is None:
            return embedded
        return embedded + self.bends(values[..., 0]) * (1 - values[..., 1:])


class EventEmbedding(nn.Module):
    """Embed the events of a batch: (B, T) fields -> (B, T, D).

    Args:
        sizes: ids of each category field; the tokens of a text inside an event are several of one field, which share a
            table and whose mean is read.
        knots: training quantiles of each number field.
        width: D.
        dropout: on the summed vector.
        value_dropout: share of values of large category fields (over 256 ids) that are read as UNKNOWN in training:
            the network learns what to do with values it has never seen and leans less on rare ones.
        use_time: read age, gap, hour and weekday.
        groups: names of number fields that are the bands of one spectrum, read together (`spectrum.py`).
        augment: how much these are changed in training; None not at all.
        frozen: the pretrained encoder of each text that is read through one; it has no table here.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        knots: Mapping[str, Sequence[float]],
        width: int,
        dropout: float,
        *,
        value_dropout: float = 0.0,
        use_time: bool = True,
        groups: Mapping[str, Sequence[str]] | None = None,
        augment: Augment | None = None,
        frozen: Mapping[str, Pretrained] | None = None,
    ) -> None:
        super().__init__()
        self.value_dropout, self.width = value_dropout, width
        self.groups = {module_key(name): tuple(members) for name, members in (groups or {}).items()}
        self._grouped = {name for members in self.groups.values() for name in members}
        self._sparse = {name for name, size in sizes.items() if size > _FEW_VALUES}
        self.texts = pieces_of(sizes)  # tokens of one text share a table
        own = {name: size for name, size in sizes.items() if field_of(name) == name or field_of(name) not in sizes}
        own = {name: size for name, size in own.items() if name not in (frozen or {})}
        self.frozen = nn.ModuleDict({module_key(name): FrozenText(one, width) for name, one in (frozen or {}).items()})
        self.categories = nn.ModuleDict({module_key(name): _embedding(size, width) for name, size in own.items()})
        alone = {name: at for name, at in knots.items() if name not in self._grouped}
        self.numbers = nn.ModuleDict({module_key(name): NumberEmbedding(at, width) for name, at in alone.items()})
        if self.groups:
            spectra = {name: SpectrumEmbedding(len(members), width, augment) for name, members in self.groups.items()}
            self.spectra = nn.ModuleDict(spectra)
        self.use_time = use_time
        if use_time:
            self.age = PiecewiseLinear(KNOTS_DAYS, width)
            self.gap = PiecewiseLinear(KNOTS_DAYS, width)
            self.hour = _embedding(24, width, padding=None)
            self.weekday = _embedding(7, width, padding=None)
        self.norm: nn.Module = nn.LayerNorm(width)
        if len(self.groups) == 1 and not (use_time or sizes or alone or frozen):
            self.norm = nn.Identity()  # a spectrum alone says how strong a pattern is, which a norm a step would hide
        self.dropout = Dropout(dropout)

    def forward(self, batch: Batch, more: Sequence[Tensor] = ()) -> Tensor:
        """Return step vectors (B, T, D); padded steps hold values that nothing may read.

        `more` are vectors (B, T, D) that a task adds to the sum.
        """
        parts = list(more)
        for name, members in self.groups.items():
            bands_BTM = torch.stack([batch.numbers[member][..., 0] for member in members], dim=-1)
            parts.append(self.spectra[name](bands_BTM, batch.is_step))
        if self.use_time:
            parts += [self.age(batch.age_days), self.gap(batch.gap_days)]
            parts += [self.hour(batch.hour), self.weekday(batch.weekday)]
        if not parts and not batch.ids and not batch.numbers:
            parts = [torch.zeros(*batch.is_step.shape, self.width, device=batch.is_step.device)]
        alone = {name: values for name, values in batch.numbers.items() if name not in self._grouped}
        return self.vectors(batch.ids, alone, parts)

    def vectors(self, ids: Mapping[str, Tensor], numbers: Mapping[str, Tensor], more: Sequence[Tensor]) -> Tensor:
        """Return the vectors (B, T, D) of the fields and of `more`, added, normed and dropped out."""
        parts = [self._text(name, [ids[piece] for piece in pieces]) for name, pieces in self.texts.items()]
        for name, values in ids.items():
            if field_of(name) in self.texts:
                continue
            table = self.categories[module_key(name)]
            parts.append(table(self._dropped(values) if name in self._sparse else values))
        parts += [self.numbers[module_key(name)](values) for name, values in numbers.items()]
        total = functools.reduce(torch.add, [*parts, *more])
        return self.dropout(self.norm(total))

    def _text(self, name: str, pieces: Sequence[Tensor]) -> Tensor:
        """Return a vector of each event's text, (B, T, D): what its encoder says, or the mean of its tokens."""
        ids = torch.stack([*pieces], dim=-1)
        if module_key(name) in self.frozen:
            read: Tensor = self.frozen[module_key(name)](ids)
            return read
        ids = self._dropped(ids) if name in self._sparse else ids
        table = self.categories[module_key(name)].weight
        assert isinstance(table, Tensor), type(table)
        means = functional.embedding_bag(ids.flatten(0, -2), table, mode="mean", padding_idx=PAD)
        return means.view(*ids.shape[:-1], -1)

    def frozen_pieces(self) -> dict[tuple[str, ...], FrozenText]:
        """Return what reads each text through a frozen encoder, by the names of the text's tokens."""
        found: dict[tuple[str, ...], FrozenText] = {}
        for name, pieces in self.texts.items():
            if module_key(name) in self.frozen:
                module = self.frozen[module_key(name)]
                assert isinstance(module, FrozenText)
                found[tuple(pieces)] = module
        return found

    def _dropped(self, ids: Tensor) -> Tensor:
        if not self.training or not self.value_dropout:
            return ids
        return ids.masked_fill((torch.rand(ids.shape, device=ids.device) < self.value_dropout) & (ids != PAD), UNKNOWN)


class ProfileEmbedding(nn.Module):
    """Embed the profile fields of a batch: (B,) fields -> (B, P); P is 0 without profile fields."""

    def __init__(self, sizes: Mapping[str, int], knots: Mapping[str, Sequence[float]], width: int) -> None:
        super().__init__()
        self.categories = nn.ModuleDict({module_key(name): _embedding(size, width) for name, size in sizes.items()})
        self.numbers = nn.ModuleDict({module_key(name): NumberEmbedding(at, width) for name, at in knots.items()})
        self.width = width * (len(sizes) + len(knots))

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, P)."""
        parts = [self.categories[module_key(name)](ids) for name, ids in batch.profile_ids.items()]
        parts += [self.numbers[module_key(name)](values) for name, values in batch.profile_numbers.items()]
        return torch.cat(parts, dim=-1) if parts else batch.age_days.new_zeros(len(batch.lengths), 0)


def module_key(name: str) -> str:
    """Return a field name as a module name, which may hold no dot."""
    return "field_" + name.replace("_", "__").replace(".", "_d")


def _embedding(size: int, width: int, padding: int | None = PAD) -> nn.Embedding:
    table = nn.Embedding(size, width, padding_idx=padding)
    nn.init.normal_(table.weight, std=_FEW_STD if size <= _FEW_VALUES and padding is not None else _MANY_STD)
    if padding is not None:
        with torch.no_grad():
            table.weight[padding].zero_()
    return table
