"""What models of labelled examples want of texts: how a backbone reads them, and how data is read for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from habitus.backbones.pretrained import Pretrained
from habitus.data.options import Data
from habitus.errors import ConfigError


def text_defaults(name: str, data: Data) -> Mapping[str, Any]:
    """Return what the backbone `name` is to be where texts are read: both ways, and without times."""
    if not data.reads_text or name == "pretrained":
        return {}
    return {"causal": False, "time_aware": False} if name == "transformer" else {"bidirectional": True}


def data_for(backbone: Any, data: Data) -> Data:
    """Return how data is read for a backbone: a pretrained encoder has its own tokenizer.

    Raises:
        ConfigError: if there is no text for it, or another tokenizer is asked for.
    """
    if not isinstance(backbone, Pretrained):
        return data
    if not data.reads_text:
        raise ConfigError(
            "backbone 'pretrained' reads texts: name their column with text= (--text), or the fields of the log whose "
            "values are words with words= (--words)."
        )
    if data.tokenizer not in (Data.tokenizer, backbone.pretrained):
        raise ConfigError(
            f"tokenizer='{data.tokenizer}' is not that of the pretrained encoder '{backbone.pretrained}'; leave it out."
        )
    if data.token_pairs:
        raise ConfigError("token_pairs= is for networks from scratch: a pretrained encoder has its own; leave it out.")
    return replace(data, tokenizer=backbone.pretrained)
