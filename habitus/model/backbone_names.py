"""Backbones by the names that the command line, config files and bundles know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from habitus.backbones import CNN, GRU, LSTM, RNN, Transformer
from habitus.backbones.pretrained import Pretrained
from habitus.config import build
from habitus.errors import ConfigError, did_you_mean
from habitus.tasks import Backbone

BACKBONES: dict[str, type[Backbone]] = {"transformer": Transformer, "gru": GRU, "lstm": LSTM, "rnn": RNN, "cnn": CNN}
PRETRAINED = {"pretrained": Pretrained}  # of texts alone
NAMES = {kind: name for name, kind in {**BACKBONES, **PRETRAINED}.items()}


def backbone_from(options: Mapping[str, Any]) -> Backbone:
    """Build a backbone from plain options with its `name`.

    >>> backbone_from({"name": "gru", "hidden_size": 8}).hidden_size
    8
    """
    rest = {key: value for key, value in options.items() if key != "name"}
    name = str(options.get("name", "transformer"))
    known = {**BACKBONES, **PRETRAINED}
    if name not in known:
        raise ConfigError(f"There is no backbone '{name}'; {did_you_mean(name, known)}")
    return build(known[name], rest, "[backbone]")
