"""The network of a whole-sequence task: events -> backbone -> pool -> head, with the profile and counts joined.

fields (B,T) --embed--> (B,T,D) --backbone--> (B,T,D) --pool--> (B,D) --+-- head --> (B,C) --+--> outputs
profile (B,) --embed--------------------------------------------> (B,P) --+                  |
counts and profile -------------------------------- linear (wide) --------------------> (B,C) -+
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from habitus.backbones import CNN, GRU, LSTM, RNN, Transformer
from habitus.backbones.embed import EventEmbedding, ProfileEmbedding
from habitus.backbones.frames import Augment
from habitus.backbones.pool import Pool
from habitus.backbones.pretrained import Pretrained
from habitus.backbones.pretrained.frozen import frozen_texts
from habitus.data.batch import Batch
from habitus.data.encode import Encoder
from habitus.tasks.base import Task
from habitus.tasks.wide import WideBag

Backbone = Transformer | GRU | LSTM | RNN | CNN | Pretrained
_PROFILE_WIDTH = 8


@dataclass(frozen=True)
class Inputs:
    """What the network reads: sizes of id fields and knots of number fields, of events and of profiles; and groups of
    event numbers that are read as one vector each; and the ids that a pretrained encoder of words wants around a row;
    and the frozen encoder of each text of events that has one.
    """

    sizes: Mapping[str, int]
    knots: Mapping[str, Sequence[float]]
    profile_sizes: Mapping[str, int]
    profile_knots: Mapping[str, Sequence[float]]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    specials: tuple[Sequence[int], Sequence[int]] = ((), ())
    texts: Mapping[str, Pretrained] = field(default_factory=dict)

    @classmethod
    def of(cls, encoder: Encoder) -> Inputs:
        """Return what a network of encoded events and profiles reads."""
        return cls(
            encoder.sizes,
            encoder.knots,
            encoder.profile_sizes,
            encoder.profile_knots,
            encoder.groups,
            texts=frozen_texts(encoder),
        )


def build_body(
    inputs: Inputs, backbone: Backbone, *, use_time: bool, value_dropout: float = 0.0, augment: Augment | None = None
) -> tuple[nn.Module, nn.Module]:
    """Return what turns a batch into step vectors (B, T, D), and what turns these into step states."""
    if isinstance(backbone, Pretrained):
        encoder = backbone.build()
        return encoder.reads(inputs.sizes), encoder
    embed = EventEmbedding(
        inputs.sizes,
        inputs.knots,
        backbone.hidden_size,
        backbone.dropout,
        value_dropout=value_dropout,
        use_time=use_time,
        groups=inputs.groups,
        augment=augment,
        frozen=inputs.texts,
    )
    return embed, backbone.build()


class SequenceNetwork(nn.Module):
    """Embed, encode, pool, join the profile, and answer.

    Args:
        inputs: what is read.
        backbone: config of the backbone.
        task: gives the head.
        use_time: read age, gap, hour and weekday of events.
        wide: add the linear path over counts.
        value_dropout: share of category values read as UNKNOWN in training.
        augment: how much grouped numbers (the bands of sound) are changed in training; None not at all.
        n_factors: of the linear path, taken from a pretrained bundle; 0: none.
        hidden: whether the head has a hidden layer.
    """

    def __init__(
        self,
        inputs: Inputs,
        backbone: Backbone,
        task: Task,
        *,
        use_time: bool,
        wide: bool,
        value_dropout: float = 0.0,
        augment: Augment | None = None,
        n_factors: int = 0,
        hidden: bool = True,
    ) -> None:
        super().__init__()
        width = backbone.hidden_size
        self.embed, self.backbone = build_body(
            inputs, backbone, use_time=use_time, value_dropout=value_dropout, augment=augment
        )
        self.pool = Pool(backbone.pooling, width)
        self.profile = ProfileEmbedding(inputs.profile_sizes, inputs.profile_knots, _PROFILE_WIDTH)
        self.head = task.build_head(width + 1 + self.profile.width, hidden)
        self.wide = None
        if wide:
            self.wide = WideBag(
                inputs.sizes,
                inputs.profile_sizes,
                task.n_outputs,
                list(inputs.knots) if task.reads_totals else (),
                list(inputs.profile_knots) if task.reads_totals else (),
                task.reads_totals and task.log,
                n_factors,
            )

    def states(self, batch: Batch) -> Tensor:
        """Return step states (B, T, D)."""
        return self.backbone(self.embed(batch), batch)

    def forward(self, batch: Batch) -> Tensor:
        """Return outputs (B, C)."""
        pooled = self.pool(self.states(batch), batch.is_step, batch.lengths)
        log_length = batch.lengths.to(pooled.dtype).log()[:, None]  # pooling forgets how many events there are
        outputs = self.head(torch.cat([pooled, log_length, self.profile(batch)], dim=-1))
        if batch.offset is not None:
            return outputs + batch.offset
        return outputs + self.wide(batch) if self.wide is not None else outputs


class Embedder(nn.Module):
    """The same network up to the pooled state: (B, D)."""

    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> Tensor:
        """Return pooled states (B, D)."""
        return self.network.pool(self.network.states(batch), batch.is_step, batch.lengths)
