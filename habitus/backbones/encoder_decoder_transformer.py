"""The Transformer form of `EncoderDecoder` (Vaswani et al. 2017, arXiv:1706.03762, section 3.1).

The blocks are those of `transformer.py`; a decoder block has cross-attention between its self-attention and its
feed-forward layer. Differs from the paper: norm before each sublayer and once more behind each stack (Xiong et al.
2020, arXiv:2002.04745), GELU, and by default rotary positions in self-attention (Su et al. 2021, arXiv:2104.09864).
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.attention import rotate, rotations, sinusoidal_positions
from habitus.backbones.cross_attention import CrossAttention, split_heads
from habitus.backbones.encoder_decoder import DecoderState, Encoded, EncoderDecoder, EncoderDecoderStack, mean_weights
from habitus.backbones.transformer import Block, Transformer


class DecoderBlock(Block):
    """x + attention(norm(x)), then x + cross(norm(x), source), then x + feed-forward(norm(x))."""

    def __init__(self, config: Transformer) -> None:
        super().__init__(config)
        self.cross_norm = nn.LayerNorm(config.hidden_size)
        self.cross = CrossAttention(config.hidden_size, config.n_heads)

    def read(self, x_BQD: Tensor, rotation: Tensor | None, encoded: Encoded) -> Tensor:
        """Return the states of known targets after this block, (B, Q, D)."""
        x = self.attended(x_BQD, rotation)
        keys, values = self.cross.remember(encoded.states_BTD)
        return self.crossed(x, keys, values, encoded.mask)

    def attended(self, x_BQD: Tensor, rotation: Tensor | None) -> Tensor:
        """Return the states after causal self-attention."""
        return self._joined(x_BQD, self.attention(self.attention_norm(x_BQD), rotation, None, None), None)

    def crossed(self, x_BQD: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return the states after cross-attention and feed-forward."""
        asked = self.cross(self.cross_norm(x_BQD), keys, values, mask)
        return self._with_feedforward(self._joined(x_BQD, asked, None))

    def after(self, x_B1D: Tensor, rotation: Tensor | None, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        """Return the state of one more step after self-attention, and the keys and values of all steps so far."""
        attention = self.attention
        query, keys, values = attention.qkv(self.attention_norm(x_B1D)).chunk(3, dim=-1)
        if rotation is not None:
            rotation = rotation.repeat(1, attention.n_heads)
            query, keys = rotate(query, rotation), rotate(keys, rotation)
        query, keys, values = (split_heads(part, attention.n_heads) for part in (query, keys, values))
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        mixed = attention.out(F.scaled_dot_product_attention(query, keys, values).transpose(1, 2).flatten(-2))
        return self._joined(x_B1D, mixed, None), keys, values


class TransformerEncoderDecoder(EncoderDecoderStack):
    """The network of `EncoderDecoder(kind="transformer")`."""

    def __init__(self, config: EncoderDecoder) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = config.blocks(causal=False), config.blocks(causal=True)
        self.encoder = nn.ModuleList(Block(encoder) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderBlock(decoder) for _ in range(config.n_layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)

    def encode(self, source_BTD: Tensor, lengths_B: Tensor) -> Encoded:
        """Read the sources; every step sees every other."""
        encoded = Encoded.of(self._with_positions(source_BTD), lengths_B)
        x, rotation = encoded.states_BTD, self._rotation(source_BTD)
        for block in self.encoder:
            x = block(x, rotation, None, encoded.mask)
        return Encoded(self.encoder_norm(x), encoded.is_step_BT)

    def decode(self, target_BQD: Tensor, encoded: Encoded) -> Tensor:
        """Return the states (B, Q, D) of known targets; no step sees a later one."""
        x, rotation = self._with_positions(target_BQD), self._rotation(target_BQD)
        for block in self.decoder:
            x = cast(DecoderBlock, block).read(x, rotation, encoded)
        return self.decoder_norm(x)

    def start(self, encoded: Encoded) -> DecoderState:
        """Return a state that holds the source's keys and values, of every layer."""
        kept: list[Tensor | None] = [encoded.is_step_BT]
        for block in self.decoder:
            kept += cast(DecoderBlock, block).cross.remember(encoded.states_BTD)
        return DecoderState(0, tuple(kept), (None,) * (2 * len(self.decoder)))

    def step(self, step_BD: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one more token of each answer."""
        is_step_BT, *of_source = state.source
        mask = None if is_step_BT is None else is_step_BT[:, None, None, :]
        rotation = self._rotation(step_BD[:, None], state.n_steps)
        x, kept = self._with_positions(step_BD[:, None], state.n_steps), []
        for number, block in enumerate(self.decoder):
            keys, values = of_source[2 * number : 2 * number + 2]
            own_keys, own_values = state.own[2 * number : 2 * number + 2]
            past = None if own_keys is None or own_values is None else (own_keys, own_values)
            block = cast(DecoderBlock, block)
            assert keys is not None and values is not None, "of every layer"
            x, own_keys, own_values = block.after(x, rotation, past)
            x = block.crossed(x, keys, values, mask)
            kept += [own_keys, own_values]
        return self.decoder_norm(x)[:, 0], DecoderState(state.n_steps + 1, state.source, tuple(kept))

    @torch.no_grad()
    def alignment(self, target_BQD: Tensor, encoded: Encoded) -> Tensor:
        """Return the mean of the cross-attention of all heads and layers, (B, Q, T)."""
        x, rotation, found = self._with_positions(target_BQD), self._rotation(target_BQD), []
        for block in self.decoder:
            block = cast(DecoderBlock, block)
            x = block.attended(x, rotation)
            keys, values = block.cross.remember(encoded.states_BTD)
            found.append(block.cross.weights(block.cross_norm(x), keys, encoded.mask))
            x = block.crossed(x, keys, values, encoded.mask)
        return mean_weights(found)

    def _rotation(self, x_BTD: Tensor, first: int = 0) -> Tensor | None:
        """Return the rotation of the steps from `first` on, or None."""
        if self.config.position != "rotary":
            return None
        n_pairs = self.config.hidden_size // self.config.n_heads // 2
        return rotations(first + x_BTD.shape[1], n_pairs, x_BTD.device)[first:]

    def _with_positions(self, x_BTD: Tensor, first: int = 0) -> Tensor:
        if self.config.position != "sinusoidal":
            return x_BTD
        n_steps, width = x_BTD.shape[1:]
        return x_BTD + sinusoidal_positions(first + n_steps, width)[first:].to(x_BTD)
