"""Start from a pretrained bundle: its vocabularies, and the weights of its embedding and its backbone.

    habitus pretrain --events E --out DIR          habitus fit classify ... --from DIR

The head and the linear path over counts are the task's own. What was taken over learns at a share of the learning rate,
or not at all; held still, its pooled states are also read by the linear path, which a few labels can fit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from habitus.backbones.embed import module_key
from habitus.bundle import read_bundle
from habitus.data.encode import Encoder
from habitus.data.examples import Examples
from habitus.errors import ConfigError, DataError
from habitus.model.base import SequenceModel, tensors_below
from habitus.next_prepared import PreparedNext
from habitus.tasks.pretrain import Pretrain
from habitus.trained_on import hashes, moments_of

TAKEN = ("embed", "backbone")  # modules that a start gives, and also `pool` where the objective trained it
_FREE = ("dropout", "pooling")  # options of a backbone that need not be the start's


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
        if config["task"]["name"] != Pretrain.name:
            raise ConfigError(
                f"'{path}' is a model of the task '{config['task']['name']}'; start from a folder that "
                "`habitus pretrain --out` wrote."
            )
        task = Pretrain.from_json(config["task"])
        taken = (*TAKEN, "pool") if task.trains_pooling else TAKEN
        own = tensors_below("network/", bundle.tensors)
        weights = {name: torch.from_numpy(value) for name, value in own.items() if name.split(".")[0] in taken}
        facts = {"hash": bundle.hash, "objective": task.objective, **config["learned_from"]}
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

    def refuse_judges(self, keys: pl.Series, part: np.ndarray, split: Any) -> list[str]:
        """Refuse a start that has read histories which are to judge; return notes.

        Args:
            keys: String (n,), the entity of each unit.
            part: of each, (n,); those of "test" judge.
            split: that divided them.

        Raises:
            DataError: with how many.
        """
        entities = self.seen[0]
        known = np.isin(hashes(keys.to_list()), entities)
        n_judging = int((known & (part == "test")).sum())
        if n_judging:
            raise DataError(
                f"The pretrained bundle has read the histories of {n_judging:,} of the {(part == 'test').sum():,} "
                f"entities that judge, whose future it would know. Pretrain on a log without them{_same_draw(split)}."
            )
        trains = int((known & (part != "test")).sum())
        return [
            f"{self.sentence()} {trains:,} of {(part != 'test').sum():,} entities that train or choose were among them."
        ]

    def refuse_asked(self, prepared: PreparedNext) -> None:
        """Refuse a start that has read events which choose the epoch or judge, of next-event prediction.

        Raises:
            DataError: with of how many histories.
        """
        histories, stop = prepared.histories, prepared.parts.train_stop
        asked = np.flatnonzero(stop < histories.offsets[1:])
        keys = hashes(prepared.entities.cast(pl.String).fill_null("").gather(asked).to_list())
        entities, until_us = self.seen
        at = np.minimum(np.searchsorted(entities, keys), max(len(entities) - 1, 0))
        known = entities[at] == keys if len(entities) else np.zeros(len(keys), bool)
        late = known & (until_us[at] >= histories.time_us[stop[asked]]) if len(entities) else known
        if late.any():
            raise DataError(
                f"The pretrained bundle has read events that are to be foretold, of {late.sum():,} of {len(keys):,} "
                "histories. Pretrain on what comes before them: with a table of the entities and the moment up to "
                "which each may be read (habitus pretrain --events E --examples X), or on other entities."
            )

    def hand_over(self, network: nn.Module, rate: float, *, new: Iterable[str] = (), grown: Iterable[str] = ()) -> None:
        """Put the weights into a network, and let them learn at a share of the learning rate; 0 holds them still.

        A network that keeps some of them under other names, or has no use for them, says so (`taken_name`).

        Args:
            network: that goes on from here.
            rate: the share.
            new: fields that the start does not have, such as the label history of a tagger; they begin at random.
            grown: fields whose vocabulary has got more values behind the start's; these begin at random, and their
                table learns at the whole rate.

        Raises:
            DataError: if the network reads other fields.
        """
        state, added = network.state_dict(), {_table_of(name) for name in new}
        fresh = set(added)
        taken_name = getattr(network, "taken_name", _same)
        useful = {name: value for name, value in self.weights.items() if name.split(".")[0] in (*TAKEN, "pool")}
        named = {taken_name(name): value for name, value in useful.items()}
        pool = {name: value for name, value in named.items() if name and name.startswith("pool.") and name in state}
        given = {name: value for name, value in named.items() if name and not name.startswith("pool.")}
        for table in {_table_of(name) for name in grown} & given.keys() & state.keys():
            fresh |= {table} if len(state[table]) > len(given[table]) else set()
            given[table] = torch.cat([given[table], state[table][len(given[table]) :]])
        own = {one for one in state if one in given or (one.split(".")[0] in TAKEN and one not in added)}
        unlike = [name for name in {*own, *given} if _shape(state.get(name)) != _shape(given.get(name))]
        if unlike:
            raise DataError(
                f"The network reads other fields than the pretrained one ({len(unlike)} of its tensors differ, such as "
                f"'{sorted(unlike)[0]}'); give the same log, the same options of reading and the same use_time."
            )
        network.load_state_dict({**given, **pool}, strict=False)
        for name in dict.fromkeys([*TAKEN, *(name.split(".")[0] for name in given)]):
            _set_rate(getattr(network, name), rate, {one.removeprefix(f"{name}.") for one in fresh})
        wide: Any = getattr(network, "wide", None)
        for name in () if wide is None else wide.factored:
            wide.factors[module_key(name)].data.copy_(torch.from_numpy(self.factors[name]))


def begin(model: Any, start: str | Path | Start | None, *, chosen: bool) -> None:
    """Let a model begin from a bundle, whose backbone it takes; None lets it begin from nothing.

    Args:
        model: that is to be fitted; gets `_start` and `start_`.
        start: the bundle, or its folder.
        chosen: whether its backbone was chosen, so that it must fit.
    """
    begun = start if start is None or isinstance(start, Start) else Start.read(start)
    model._start, model.start_ = begun, None if begun is None else dict(begun.facts)
    if begun is not None:
        model.backbone = begun.backbone_for(model, chosen)


def _same_draw(split: Any) -> str:
    """Say how pretraining leaves out the entities that a split draws to judge, where it draws them."""
    if getattr(split, "column", None) is not None or getattr(split, "by", "entity") != "entity":
        return ""
    return f": habitus pretrain --events E --test {split.test:g} --seed {split.seed} leaves the same ones out"


def _table_of(field: str) -> str:
    return f"embed.categories.{module_key(field)}.weight"


def _same(name: str) -> str:
    return name


def _shape(value: Tensor | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value.shape)


def _set_rate(module: Any, rate: float, fresh: Collection[str]) -> None:
    """Let a module learn at a share of the rate, but for its fresh parameters; one that has a say is multiplied."""
    if rate == 0:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name in fresh)
        return
    inner = getattr(module, "rate_of", None)
    module.rate_of = lambda name: (1.0 if name in fresh else rate) * (1.0 if inner is None else inner(name))
