"""NextEvent: after every event, what comes next: which item, when, and with which other fields.

Target: the event after each step, by a shift of the sequence itself; no table of examples.
Heads: the item by the inner product with its own embedding (tied); other categories by a linear layer; numbers by
their median; the time until the next event by a density. Loss: the sum of theirs over all steps that have a next event.

A question may come with its time ("what will this user do now?"): a share `query_time` of training rows is told the
gap to each next event, the others are not, so that one model answers with and without it.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.embed import EventEmbedding, module_key
from habitus.backbones.step import norm_row
from habitus.config import build, check_choice
from habitus.data.batch import Batch, Upcoming
from habitus.data.clock import DAY_US, HOUR_US
from habitus.errors import ConfigError
from habitus.fields.category import N_RESERVED, PAD
from habitus.tasks.catalogue import CatalogueLoss
from habitus.tasks.network import Backbone, Inputs
from habitus.tasks.time_density import LogNormalMixture

# seconds, minutes, hours and days: a gap is read as the interval that it falls into
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_GAP_EDGES_S = (
    *(0.5, 5.0, 15.0, 30.0, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR),
    *(days * _DAY for days in (1, 2, 4, 7, 14, 30, 90, 180, 365)),
)
_GAP_EDGES_DAYS = tuple(seconds / _DAY for seconds in _GAP_EDGES_S)
_GAP_EDGES = [float(edge) for edge in np.array(_GAP_EDGES_DAYS, dtype=np.float32)]
_N_GAPS = len(_GAP_EDGES_DAYS) + 1
_INIT_STD = 0.05


@dataclass(frozen=True)
class NextEvent:
    """Predict the next event after every step.

    Args:
        item: category field whose next value is asked: an item, an app, an action.
        also: other event fields to predict with it, categories or numbers.
        when: predict the time until the next event.
        when_weight: of that loss beside the others; its gradients are sharp, and at 1 they crowd out the item's.
        calendar: read hour and weekday (UTC) of past events.
        query_time: share of training rows that are told when the next event happens; 0 gives a model that
            cannot be told, 1 one that must be.
        loss: over the items: "softmax" (all of them), "sampled" (softmax over shared negatives), "gbce", "bce", or
            "auto", which chooses by the size of the catalogue.
        negatives: drawn for a batch and shared by its rows ("sampled", "gbce", "bce").
        in_batch_share: share of negatives that are other rows' targets, with the logQ correction.
        precision: of the products with the catalogue: "fp32", or "bf16" where the processor has it.

    >>> NextEvent("app").monitor
    'ndcg@10'
    """

    name: ClassVar[str] = "next-event"
    monitor: ClassVar[str] = "ndcg@10"

    item: str = "item_id"
    also: tuple[str, ...] = ()
    when: bool = True
    when_weight: float = 0.1
    calendar: bool = True
    query_time: float = 0.0
    loss: Literal["auto", "softmax", "sampled", "gbce", "bce"] = "auto"
    negatives: int = 512
    in_batch_share: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, ("auto", "softmax", "sampled", "gbce", "bce"))
        check_choice("precision", self.precision, ("fp32", "bf16"))
        if not 0 <= self.query_time <= 1:
            raise ConfigError(f"query_time={self.query_time} is a share of training rows: 0 to 1.")
        if not self.when_weight > 0:
            raise ConfigError(f"when_weight={self.when_weight} must be above 0; when=false leaves the time out.")
        if self.item in self.also:
            raise ConfigError(f"also={list(self.also)} names the item '{self.item}' itself; leave it out.")

    @property
    def predicts_when(self) -> bool:
        """Whether there is a time to predict: a model that is always told when has none."""
        return self.when and self.query_time < 1

    @property
    def catalogue_loss(self) -> CatalogueLoss:
        """How the loss over the items is computed."""
        return CatalogueLoss(
            kind=self.loss,
            negatives=self.negatives,
            in_batch_share=self.in_batch_share,
            precision=self.precision,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"name": self.name, "options": asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NextEvent:
        """Build from `to_json` data."""
        return build(cls, data["options"], "[task]")


class NextEventNetwork(nn.Module):
    """fields (B,T) --embed, + gaps--> (B,T,D) --causal backbone--> (B,T,D) --heads--> item, time, other fields.

    Args:
        inputs: what is read; holds the item among its ids.
        backbone: config of a causal backbone.
        task: what is predicted.
        gaps_days: float32 (E,), gaps of the training part, from which the density of time takes its scale; None where
            the weights are loaded afterwards.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, task: NextEvent, gaps_days: np.ndarray | None = None
    ) -> None:
        super().__init__()
        if not backbone.is_causal:
            raise ConfigError("NextEvent needs a causal backbone: a step may not see the event that it predicts.")
        width = backbone.hidden_size
        self.task = task
        self.embed = EventEmbedding(
            inputs.sizes, inputs.knots, width, backbone.dropout, use_time=False, frozen=inputs.texts
        )
        self.gap = _table(_N_GAPS, width)
        self.next_gap = _table(_N_GAPS + 1, width) if task.query_time else None  # the last entry: not known
        self.hour = _table(24, width) if task.calendar else None
        self.weekday = _table(7, width) if task.calendar else None
        self.backbone = backbone.build()
        self.item_bias = nn.Parameter(torch.zeros(inputs.sizes[task.item]))
        self.when = _density(width, gaps_days) if task.predicts_when else None
        heads = {name: nn.Linear(width, inputs.sizes.get(name, 1)) for name in task.also}
        self.heads = nn.ModuleDict({module_key(name): head for name, head in heads.items()})
        self.register_buffer("edges", torch.tensor(_GAP_EDGES_DAYS), persistent=False)
        self.register_buffer("median_gap", torch.tensor(0.0 if gaps_days is None else float(np.median(gaps_days))))
        self.catalogue_loss = task.catalogue_loss
        self.item_counts: Tensor | None = None  # (V,) of training, for the correction of in-batch negatives

    edges: Tensor
    median_gap: Tensor

    def taken_name(self, name: str) -> str | None:
        """Return where a weight of a pretrained network belongs here; None: nowhere, as gaps are read otherwise."""
        if name.startswith(("embed.age.", "embed.gap.", "pool.")):
            return None
        for clock in ("hour.", "weekday."):
            if name.startswith(f"embed.{clock}"):
                return None if self.hour is None else name.removeprefix("embed.")
        return name

    @property
    def median_gap_days(self) -> float:
        """Median gap of the training part: the answer to "when" that knows nothing of the user."""
        return float(self.median_gap)

    @property
    def item_table(self) -> Tensor:
        """The embedding of every id, (V, D), which is also the output layer."""
        table = self.embed.categories[module_key(self.task.item)].weight
        assert isinstance(table, Tensor)
        return table

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss summed over all targets of the batch, a scalar."""
        upcoming = self._told(batch.upcoming)
        states_BTD = self.backbone(self._steps(batch, upcoming), batch)
        chosen = upcoming.is_target.flatten().nonzero()[:, 0]
        states_ND = states_BTD.flatten(0, 1)[chosen]

        def pick(values: Tensor) -> Tensor:
            return values.flatten(0, 1)[chosen]

        loss = self._item_loss(states_ND, pick(upcoming.ids[self.task.item]))
        for name in self.task.also:
            loss = loss + self._field_loss(name, states_ND, upcoming, pick)
        if self.when is not None:
            untold = ~pick(upcoming.gap_known[:, None].expand_as(upcoming.is_target))
            if untold.any():
                loss = loss + self.task.when_weight * self.when.loss(states_ND[untold], pick(upcoming.gap_days)[untold])
        return loss

    def answer_states(self, batch: Batch) -> Tensor:
        """Return the state after the last step of each row, (B, D), from which every head answers."""
        assert batch.upcoming is not None, "a question is gathered by HistoryTensors"
        return self.backbone.forward_last(self._steps(batch, batch.upcoming), batch)

    def step_vector(self, fields: Mapping[str, int | tuple[float, ...]], gap_days: float, time_us: int) -> Tensor:
        """Return the vector of one event, (1, D), which the backbone's `step` reads.

        In NumPy on views of the weights: for one event the cost of a torch call is many times that of its arithmetic.

        Args:
            fields: ids, or scaled values with their missing flags, or the ids of all tokens of a text.
            gap_days: since the previous event.
            time_us: when it happened.
        """
        rows = [_rows(self.gap)[_gap_number(gap_days)]]
        if self.next_gap is not None:
            rows.append(_rows(self.next_gap)[_N_GAPS])
        if self.hour is not None and self.weekday is not None:
            day, within = divmod(time_us, DAY_US)
            rows += [_rows(self.hour)[within // HOUR_US], _rows(self.weekday)[(day + 3) % 7]]
        for name, value in fields.items():
            key = module_key(name)
            if key in self.embed.frozen:
                rows.append(self.embed.frozen[key](torch.tensor([value]))[0].detach().numpy())
            elif name in self.embed.texts and isinstance(value, tuple):  # the tokens of a text
                table = _rows(self.embed.categories[key])[[int(one) for one in value if one != PAD]]
                rows.append(table.mean(0))
            elif isinstance(value, tuple):
                rows.append(self.embed.numbers[key](torch.tensor(value)).detach().numpy())
            else:
                rows.append(_rows(self.embed.categories[key])[value])
        norm = self.embed.norm
        assert isinstance(norm, nn.LayerNorm), "an item is a category beside any sound"
        vector = norm_row(functools.reduce(np.add, rows), norm.weight.detach().numpy(), norm.bias.detach().numpy())
        return torch.from_numpy(vector[None])

    def item_scores(self, states_BD: Tensor) -> Tensor:
        """Return the score of every id, (B, V)."""
        return torch.addmm(self.item_bias, states_BD, self.item_table.T)

    def field_answer(self, name: str, states_BD: Tensor) -> Tensor:
        """Return scores (B, C) of another category, or the median (B, 1) of another number on its scale."""
        head = self.heads[module_key(name)]
        answer: Tensor = head(states_BD)
        return answer

    def _steps(self, batch: Batch, upcoming: Upcoming) -> Tensor:
        """Return step vectors (B, T, D)."""
        more = [self.gap(torch.bucketize(batch.gap_days, self.edges))]
        if self.next_gap is not None:
            gap = torch.bucketize(upcoming.gap_days, self.edges)
            more.append(self.next_gap(torch.where(upcoming.gap_known[:, None], gap, _N_GAPS)))
        if self.hour is not None and self.weekday is not None:
            more += [self.hour(batch.hour), self.weekday(batch.weekday)]
        return self.embed(batch, more)

    def _told(self, upcoming: Upcoming | None) -> Upcoming:
        """Draw which training rows are told when their next events happen."""
        assert upcoming is not None, "a training batch is gathered by HistoryTensors"
        share = self.task.query_time
        if not share:
            return upcoming
        known = torch.rand(len(upcoming.gap_known), device=upcoming.gap_days.device) < share
        return Upcoming(upcoming.ids, upcoming.numbers, upcoming.gap_days, upcoming.is_target, known)

    def _item_loss(self, states_ND: Tensor, target_N: Tensor) -> Tensor:
        known = target_N >= N_RESERVED  # an item too rare for the vocabulary, or missing, is no answer to learn
        if not known.all():
            states_ND, target_N = states_ND[known], target_N[known]
        return self.catalogue_loss(states_ND, self.item_table, self.item_bias, target_N, counts=self.item_counts)

    def _field_loss(self, name: str, states_ND: Tensor, upcoming: Upcoming, pick: Any) -> Tensor:
        answer = self.field_answer(name, states_ND)
        if name in upcoming.ids:
            target = pick(upcoming.ids[name])
            return F.cross_entropy(answer, target, reduction="sum")
        values, missing = pick(upcoming.numbers[name]).unbind(-1)
        return ((answer[:, 0] - values).abs() * (1 - missing)).sum()


def _density(width: int, gaps_days: np.ndarray | None) -> LogNormalMixture:
    gaps = np.ones(2) if gaps_days is None else gaps_days
    return LogNormalMixture.from_gaps(gaps, width)


def _gap_number(gap_days: float) -> int:
    """Return the interval that a gap falls into, as `torch.bucketize` does with float32 edges."""
    return bisect.bisect_left(_GAP_EDGES, float(np.float32(gap_days)))


def _rows(table: nn.Module) -> np.ndarray:
    """Return a view of an embedding's weights."""
    weight = table.weight
    assert isinstance(weight, Tensor), type(weight)
    view: np.ndarray = weight.detach().numpy()
    return view


def _table(size: int, width: int) -> nn.Embedding:
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, std=_INIT_STD)
    return table
