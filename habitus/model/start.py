"""Start from a pretrained bundle: its vocabularies, and the weights of its embedding and its backbone.

    habitus pretrain --events E --out DIR          habitus fit classify ... --from DIR

The head and the linear path over counts are the task's own. What was taken over learns at a share of the learning rate,
or not at all; held still, its pooled states are also read by the linear path, which a few labels can fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.backbones.embed import module_key
from habitus.bundle import read_bundle
from habitus.data.encode import Encoder
from habitus.data.examples import Examples
from habitus.errors import ConfigError, DataError
from habitus.model.base import SequenceModel, tensors_below
from habitus.trained_on import moments_of

TAKEN = ("embed", "backbone")  # modules that a start gives, and also `pool` where the objective trained it
_FREE = ("dropout", "pooling")  # options of a backbone that need not be the start's
_PRETRAIN = "pretrain"


@dataclass(frozen=True)
class Start:
    """What a model takes over.

    Args:
        encoder: vocabularies and scalers of event fields.
        backbone: plain options, with the `name`.
        weights: by the names that they have in the network that takes them.
        facts: where it came from, for the bundle and the reports.
        factors: float32 (V, k) by field, for the linear path.
        seen: hashes of the entities that it learned from, int64 (n,), and the last moment of each that was read.
    """

    encoder: Encoder
    backbone: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    factors: Mapping[str, np.ndarray]
    seen: tuple[np.ndarray, np.ndarray]

    @classmethod
    def read(cls, path: str | Path) -> Start:
        """Read a bundle, or the run folder that holds one.

        Raises:
            ConfigError: if it was not made by pretraining.
        """
        bundle = read_bundle(path)
        config = bundle.documents["model"]
        if config["task"]["name"] != _PRETRAIN:
            raise ConfigError(
                f"'{path}' is a model of the task '{config['task']['name']}'; start from a folder that "
                "`habitus pretrain --out` wrote."
            )
        objective = config["task"]["options"]["objective"]
        taken = (*TAKEN, "pool") if objective == "contrastive" else TAKEN
        own = tensors_below("network/", bundle.tensors)
        weights = {name: torch.from_numpy(value) for name, value in own.items() if name.split(".")[0] in taken}
        facts = {"hash": bundle.hash, "objective": objective, **config["learned_from"]}
        seen = bundle.tensors["seen/entities"], bundle.tensors["seen/until_us"]
        factors = tensors_below("factors/", bundle.tensors)
        return cls(Encoder.from_json(bundle.documents["encoder"]), config["backbone"], weights, facts, factors, seen)

    @property
    def n_factors(self) -> int:
        """Factors of each field that has any."""
        return next((table.shape[1] for table in self.factors.values()), 0)

    def sentence(self) -> str:
        """Say where the model starts, for notes and reports."""
        return (
            f"Starts from the pretrained bundle {self.facts['hash'][:12]} (objective {self.facts['objective']}, "
            f"{self.facts['n_events']:,} events of {self.facts['n_entities']:,} entities)."
        )

    def backbone_for(self, model: SequenceModel, chosen: bool) -> Any:
        """Return the backbone of a model that starts here: its own where it was chosen and fits, else the start's.

        Raises:
            ConfigError: if the one that was chosen cannot take the weights.
        """
        if not chosen:
            return model.backbone_from(self.backbone)
        own = model.backbone_options(model.backbone)
        other = {name for name in {**own, **self.backbone} if name not in _FREE}
        differing = sorted(name for name in other if own.get(name) != self.backbone.get(name))
        if differing:
            said = ", ".join(f"{name}={own.get(name)!r} (there {self.backbone.get(name)!r})" for name in differing)
            raise ConfigError(
                f"The backbone is not the one that was pretrained: {said}. Leave it out, or pretrain with it."
            )
        return model.backbone

    def refuse_leaks(self, examples: Examples) -> list[str]:
        """Refuse a start that has read events at or after the cutoff of an example; return notes.

        Raises:
            DataError: with how many examples.
        """
        schema, (entities, until_us) = examples.schema, self.seen
        keys, cutoff_us = moments_of(examples.frame, schema.entity, schema.cutoff)
        at = np.minimum(np.searchsorted(entities, keys), max(len(entities) - 1, 0))
        known = entities[at] == keys if len(entities) else np.zeros(len(keys), bool)
        late = known & (until_us[at] >= cutoff_us) if len(entities) else known
        if late.any():
            raise DataError(
                f"The pretrained bundle has read events at or after the cutoff of {late.sum():,} of {len(keys):,} "
                "examples, which would leak what happened later into the model. Pretrain again with these examples: "
                "habitus pretrain --events E --examples X --out DIR."
            )
        share = (
            f"{known.sum():,} of {len(keys):,} examples are of entities whose events before the cutoff, without labels,"
        )
        return [f"{self.sentence()} {share} were among those it learned from."]

    def hand_over(self, network: nn.Module, rate: float) -> None:
        """Put the weights into a network, and let them learn at a share of the learning rate; 0 holds them still.

        Raises:
            DataError: if the network reads other fields.
        """
        own = {name: value for name, value in network.state_dict().items() if name.split(".")[0] in TAKEN}
        given = {name: value for name, value in self.weights.items() if name in own or name.split(".")[0] in TAKEN}
        unlike = [name for name in {**own, **given} if _shape(own.get(name)) != _shape(given.get(name))]
        if unlike:
            raise DataError(
                f"The network reads other fields than the pretrained one ({len(unlike)} of its tensors differ, such as "
                f"'{sorted(unlike)[0]}'); give the same log, the same options of reading and the same use_time."
            )
        pool = {name: value for name, value in self.weights.items() if name in network.state_dict()}
        network.load_state_dict({**given, **pool}, strict=False)
        for name in TAKEN:
            _set_rate(getattr(network, name), rate)
        wide: Any = getattr(network, "wide", None)
        for name in () if wide is None else wide.factored:
            wide.factors[module_key(name)].data.copy_(torch.from_numpy(self.factors[name]))


def _shape(value: Tensor | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value.shape)


def _set_rate(module: Any, rate: float) -> None:
    """Let all parameters of a module learn at a share of the rate; one that has a say itself is multiplied."""
    if rate == 0:
        module.requires_grad_(False)
        return
    inner = getattr(module, "rate_of", None)
    module.rate_of = lambda name: rate * (1.0 if inner is None else inner(name))
