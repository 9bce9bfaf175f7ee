"""Bottleneck adapters: two small layers after each sublayer of a Transformer encoder, all else held still.

    h + up(gelu(down(h)))          down (D -> r), up (r -> D), up starts at zero: nothing changes at first

Houlsby et al. 2019, arXiv:1902.00751, section 2.1, after the attention's output projection and after the feed-forward
output, before the residual is added. Differs from the paper: the layer norms are held still as well. Own code, because
peft has no bottleneck adapters and the library `adapters` does not follow transformers 5.
"""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor, nn

from habitus.errors import ConfigError

_INIT_STD = 0.02
# the last linear layer of a sublayer, in the families of encoders that transformers knows
_OUTPUTS = re.compile(
    r"(attention\.output\.dense|(^|\.)\d+\.output\.dense|attention\.out_lin|ffn\.lin2|attention\.attn\.o"
    r"|self_attn\.out_proj|(^|\.)\d+\.fc2|attn\.Wo|mlp\.Wo|attention\.dense|ffn_output)$"
)


class Bottleneck(nn.Module):
    """h + up(gelu(down(h))): (..., D) -> (..., D).

    >>> import torch
    >>> h = torch.randn(2, 4)
    >>> torch.equal(Bottleneck(4, 2)(h), h)
    True
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.normal_(self.down.weight, std=_INIT_STD)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., D)."""
        return h + self.up(F.gelu(self.down(h)))


def add_bottlenecks(encoder: nn.Module, inner: int) -> None:
    """Put an adapter into every sublayer of an encoder, in place.

    Raises:
        ConfigError: if the encoder has no sublayer of a known family.
    """
    found = [(name, layer) for name, layer in encoder.named_modules() if _OUTPUTS.search(name)]
    found = [(name, layer) for name, layer in found if isinstance(layer, nn.Linear)]
    if not found:
        raise ConfigError(
            f"{type(encoder).__name__} has no sublayers of a known family, so that no bottleneck adapter can be put "
            "into it; use adapter='lora'."
        )
    for name, layer in found:
        parent = encoder.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], Adapted(layer, inner))


class Adapted(nn.Module):
    """A linear layer with a bottleneck behind it."""

    def __init__(self, layer: nn.Linear, inner: int) -> None:
        super().__init__()
        self.layer, self.adapter = layer, Bottleneck(layer.out_features, inner)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., D)."""
        adapted: Tensor = self.adapter(self.layer(x))
        return adapted
