"""Which tokens of a sentence attend to which: the weights of a chosen head, for people to look at.

Any backbone that goes through `scaled_dot_product_attention` is read, our own Transformer and pretrained encoders: a
mode of torch sees the queries and keys of every call, so that nothing in a network has to keep them. What a head looks
at is no proof of what an answer rests on (Jain and Wallace 2019, arXiv:1902.10186).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from habitus.data.batch import SequenceTensors
from habitus.data.embed.read import encode_column
from habitus.data.text.encode import text_vocabulary
from habitus.errors import ConfigError

if TYPE_CHECKING:
    from habitus.model.embed import EmbedModel

START = "(start)"


class Watch(TorchFunctionMode):
    """Keep the weights of every attention that runs under it, `seen`: one (B, H, T, T) a layer.

    >>> q = torch.zeros(1, 1, 2, 4)
    >>> with Watch() as watch:
    ...     _ = F.scaled_dot_product_attention(q, q, q, is_causal=True)
    >>> watch.seen[0][0, 0].tolist()
    [[1.0, 0.0], [0.5, 0.5]]
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function as it is; look on where it is attention."""
        given = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            self.seen.append(_weights(*args, **given))
        return func(*args, **given)


def attention_of(model: EmbedModel, text: str, *, layer: int = -1, head: int = 0) -> tuple[list[str], np.ndarray]:
    """Return the tokens of a text and how much each (a row) attends to each (a column), float32 (T, T).

    Args:
        model: of texts, with a Transformer or a pretrained encoder.
        text: one.
        layer: from 0, or from the last one back, -1.
        head: from 0.

    Raises:
        ConfigError: if the backbone has no attention, or not so many layers or heads.
    """
    model._require_fitted()
    known = text_vocabulary(model.encoder_.inner)
    if known is None:
        raise ConfigError("This model embeds histories; attention_of looks at texts.")
    encoded, _ = encode_column(model.encoder_.inner, pl.Series([text]), model.data.max_length)
    network = model.network_.eval()
    with torch.no_grad(), Watch() as watch:
        network.vectors(SequenceTensors(encoded).gather(np.array([0])))
    if not watch.seen:
        raise ConfigError(
            f"{model.name} does not attend; attention is looked at in a Transformer or a pretrained encoder."
        )
    n_layers, n_heads = len(watch.seen), watch.seen[0].shape[1]
    if not (-n_layers <= layer < n_layers and 0 <= head < n_heads):
        raise ConfigError(
            f"layer={layer}, head={head}: there are {n_layers} layers and {n_heads} heads, counted from 0."
        )
    weights = watch.seen[layer][0, head].float().numpy()
    tokens = known[1].tokens(text)[: len(weights)]
    return [START] * (len(weights) - len(tokens)) + tokens, weights


def attention_panel(model: EmbedModel, text: str) -> dict[str, Any] | None:
    """Return a picture of the first head of the last layer for the report; None where there is no attention."""
    try:
        tokens, weights = attention_of(model, text)
    except ConfigError:
        return None
    return {
        "kind": "heat",
        "title": "What a head attends to",
        "caption": "Share of the attention of each token (a row) that goes to each (a column), head 1 of the last "
        "layer, for one text of the test part. Where a head looks does not prove what the vector rests on.",
        "rows": tokens,
        "columns": tokens,
        "matrix": weights.round(4).tolist(),
    }


def _weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    """Return softmax(q k' scale + mask), (B, H, T, S)."""
    scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(ahead, float("-inf"))
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1).detach().cpu()
