"""Which fields an event has, told from a state: the heads of "next" and "masked".

A category is answered by the inner product of a projected state with the field's own embedding (tied, as in BERT), a
number by its median, the time until the next event by the interval that it falls into. Unknown and missing values
are no answers to learn.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.embed import KNOTS_DAYS, EventEmbedding, module_key
from habitus.data.batch import Upcoming
from habitus.data.text.in_events import field_of, pieces_of
from habitus.fields.category import N_RESERVED
from habitus.tasks.catalogue import CatalogueLoss
from habitus.tasks.network import Inputs

_FULL_UP_TO, _NEGATIVES = 1000, 256


class FieldHeads(nn.Module):
    """Answer every field of an event from a state.

    Args:
        inputs: which fields there are; numbers of a group (the bands of sound) are one field.
        width: D.
        with_gap: also answer the days until the event.
    """

    def __init__(self, inputs: Inputs, width: int, *, with_gap: bool) -> None:
        super().__init__()
        known = known_categories(inputs)
        self.category_names, self.number_names = tuple(known), tuple(inputs.knots)
        self.project = nn.ModuleDict({module_key(name): nn.Linear(width, width) for name in known})
        self.bias = nn.ParameterDict({module_key(name): torch.zeros(size) for name, size in known.items()})
        self.numbers = nn.Linear(width, len(inputs.knots)) if inputs.knots else None
        self.gap = nn.Linear(width, len(KNOTS_DAYS) + 1) if with_gap else None
        self.catalogue_losses = {name: CatalogueLoss(_loss_over(size), _NEGATIVES) for name, size in known.items()}
        self.register_buffer("edges", torch.tensor(KNOTS_DAYS), persistent=False)

    edges: Tensor

    def forward(self, states_BTD: Tensor, asked: Upcoming, embed: EventEmbedding) -> Tensor:
        """Return the loss summed over the events that are asked and their fields, a scalar."""
        chosen = asked.is_target.flatten().nonzero()[:, 0]
        states_ND = states_BTD.flatten(0, 1)[chosen]
        loss = states_ND.new_zeros(())
        for name in self.category_names:
            loss = loss + self._category_loss(name, states_ND, asked.ids[name].flatten()[chosen], embed)
        if self.numbers is not None:
            answers_NF = self.numbers(states_ND)
            for number, name in enumerate(self.number_names):
                values, missing = asked.numbers[name].flatten(0, 1)[chosen].unbind(-1)
                loss = loss + ((answers_NF[:, number] - values).abs() * (1 - missing)).sum()
        if self.gap is not None:
            interval = torch.bucketize(asked.gap_days.flatten()[chosen], self.edges)
            loss = loss + F.cross_entropy(self.gap(states_ND), interval, reduction="sum")
        return loss

    def _category_loss(self, name: str, states_ND: Tensor, target_N: Tensor, embed: EventEmbedding) -> Tensor:
        key, known = module_key(name), target_N >= N_RESERVED
        table = embed.categories[key].weight
        assert isinstance(table, Tensor), type(table)
        projected = self.project[key](states_ND[known])
        return self.catalogue_losses[name](projected, table, self.bias[key], target_N[known])


def known_categories(inputs: Inputs) -> dict[str, int]:
    """Return the sizes of the category fields that have a value; pieces of texts are read, but not asked."""
    texts = pieces_of(inputs.sizes)
    return {name: size for name, size in inputs.sizes.items() if size > N_RESERVED and field_of(name) not in texts}


def _loss_over(size: int) -> Literal["softmax", "sampled"]:
    """Choose the loss over a field's values: what is learned is thrown away but for the states, so cheap is enough."""
    return "softmax" if size <= _FULL_UP_TO else "sampled"
