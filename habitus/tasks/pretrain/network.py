"""The network of pretraining: the embedding and the backbone that a later task takes over, and a head that it does not.

fields, time (B,T) --embed--> (B,T,D) --backbone--> (B,T,D) --+--> fields of events ("next", "masked")
                                                              +--> pool (B,D) --> projected (B,D) ("contrastive")

Modules have the names that they have in `SequenceNetwork`, which is how their weights are found again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from habitus.backbones import CNN, GRU, LSTM, RNN, Transformer
from habitus.backbones.pool import Pool
from habitus.data.batch import Batch
from habitus.errors import ConfigError
from habitus.tasks.network import Inputs, build_body
from habitus.tasks.pretrain.contrastive import ContrastiveHead
from habitus.tasks.pretrain.fields import FieldHeads, known_categories
from habitus.tasks.pretrain.order import OrderHead
from habitus.tasks.pretrain.task import Pretrain

EventBackbone = Transformer | GRU | LSTM | RNN | CNN
_MASK_STD = 0.05


class PretrainNetwork(nn.Module):
    """Embed, encode, and tell what is asked of events or of whole slices.

    Args:
        inputs: what is read; of profiles nothing.
        backbone: config of the backbone.
        head: the objective's.
        use_time: read age, gap, hour and weekday of events.
    """

    def __init__(self, inputs: Inputs, backbone: EventBackbone, head: nn.Module, *, use_time: bool) -> None:
        super().__init__()
        width = backbone.hidden_size
        self.embed, self.backbone = build_body(inputs, backbone, use_time=use_time)
        self.pool = Pool(backbone.pooling, width)
        self.mask = nn.Parameter(torch.randn(width) * _MASK_STD)
        self.head = head

    def states(self, batch: Batch) -> Tensor:
        """Return step states (B, T, D); the fields of hidden steps are told by one learned vector."""
        more = [] if batch.hidden is None else [batch.hidden[..., None] * self.mask]
        states: Tensor = self.backbone(self.embed(batch, more), batch)
        return states

    def pooled(self, batch: Batch) -> Tensor:
        """Return pooled states (B, D)."""
        state: Tensor = self.pool(self.states(batch), batch.is_step, batch.lengths)
        return state

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss summed over the events that are asked, a scalar, or projected slices (B, D)."""
        if isinstance(self.head, FieldHeads):
            assert batch.upcoming is not None, "a batch of pretraining says what is asked"
            loss: Tensor = self.head(self.states(batch), batch.upcoming, self.embed)
            return loss
        projected: Tensor = self.head(self.pooled(batch))
        return projected


def build_pretrain_network(
    inputs: Inputs, backbone: EventBackbone, task: Pretrain, *, use_time: bool = True
) -> PretrainNetwork:
    """Return the network of an objective."""
    if task.objective == "next" and not backbone.is_causal:
        raise ConfigError(
            "objective='next' needs a causal backbone: a step may not see the event that it predicts. Leave "
            "causal=false or bidirectional=true out, or use objective='masked'."
        )
    width = backbone.hidden_size
    if task.objective == "contrastive":
        return PretrainNetwork(inputs, backbone, ContrastiveHead(width, task.temperature), use_time=use_time)
    if task.objective == "order":
        return PretrainNetwork(inputs, backbone, OrderHead(known_categories(inputs), width), use_time=use_time)
    alone = {name: at for name, at in inputs.knots.items() if not _is_grouped(name, inputs)}
    asked = Inputs(inputs.sizes, alone, {}, {})
    heads = FieldHeads(asked, width, with_gap=use_time and task.objective == "next")
    if not heads.category_names and not heads.number_names and heads.gap is None:
        raise ConfigError("The log has no field to be told from others; use objective='next' or 'contrastive'.")
    return PretrainNetwork(inputs, backbone, heads, use_time=use_time)


def _is_grouped(name: str, inputs: Inputs) -> bool:
    return any(name in members for members in inputs.groups.values())
