"""Transformer parts against torch's own, with copied weights, and against the formulas of the papers by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from habitus.backbones import Transformer
from habitus.backbones.transformer import Attention, Block, rotate, sinusoidal_positions

B, T, D, H = 3, 7, 12, 3
LENGTHS = torch.tensor([7, 1, 4])
IS_STEP = torch.arange(T) < LENGTHS[:, None]


def randomised(module, seed=0):
    """Give every weight a value that is not what it starts with, so that a forgotten bias or scale shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return module.eval()


def steps(seed=1):
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(seed))


def copy_attention(own, theirs):
    with torch.no_grad():
        theirs.in_proj_weight.copy_(own.qkv.weight)
        theirs.in_proj_bias.copy_(own.qkv.bias)
        theirs.out_proj.weight.copy_(own.out.weight)
        theirs.out_proj.bias.copy_(own.out.bias)


def torch_masks(causal, padded):
    ahead = torch.triu(torch.ones(T, T, dtype=torch.bool), 1) if causal else None
    return {"attn_mask": ahead, "key_padding_mask": ~IS_STEP if padded else None}


@pytest.mark.parametrize(("causal", "padded"), [(False, False), (False, True), (True, False)])
@torch.no_grad()
def test_attention_equals_torch(causal, padded):
    own, x = randomised(Attention(D, H, causal)), steps()
    theirs = nn.MultiheadAttention(D, H, batch_first=True).eval()
    copy_attention(own, theirs)
    expected = theirs(x, x, x, need_weights=False, **torch_masks(causal, padded))[0]
    mixed = own(x, None, IS_STEP[:, None, None, :] if padded else None)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_with_another_mask_differs_from_torch():
    own, x = randomised(Attention(D, H, causal=False)), steps()
    theirs = nn.MultiheadAttention(D, H, batch_first=True).eval()
    copy_attention(own, theirs)
    expected = theirs(x, x, x, need_weights=False, **torch_masks(causal=False, padded=True))[0]
    assert (own(x, None, None) - expected).abs().max() > 0.01


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_a_block_equals_torch(causal):
    own, x = randomised(Block(Transformer(hidden_size=D, n_heads=H, feedforward=3, causal=causal))), steps()
    theirs = nn.TransformerEncoderLayer(D, H, 3 * D, activation="gelu", batch_first=True, norm_first=True).eval()
    copy_attention(own.attention, theirs.self_attn)
    pairs = [
        (own.attention_norm, theirs.norm1),
        (own.feedforward_norm, theirs.norm2),
        (own.up, theirs.linear1),
        (own.down, theirs.linear2),
    ]
    for mine, other in pairs:
        other.load_state_dict(mine.state_dict())
    expected = theirs(x, src_mask=torch_masks(causal, False)["attn_mask"], is_causal=causal)
    torch.testing.assert_close(own(x, None, None), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("n_steps", "width"), [(9, 8), (5, 7), (1, 2)])
def test_sinusoidal_positions_follow_the_formula(n_steps, width):
    by_hand = np.zeros((n_steps, width))
    for position in range(n_steps):
        for column in range(width):
            angle = position / 10_000 ** (2 * (column // 2) / width)
            by_hand[position, column] = math.cos(angle) if column % 2 else math.sin(angle)
    np.testing.assert_allclose(sinusoidal_positions(n_steps, width), by_hand, atol=1e-5)


def test_rotation_follows_equation_34():
    x = torch.randn(2, 3, 4, 6, dtype=torch.float32)
    angles = torch.rand(2, 3, 4, 3) * 20
    turned = rotate(x, torch.polar(torch.ones_like(angles), angles)).numpy()
    for pair in range(3):
        even, odd = x[..., 2 * pair].numpy(), x[..., 2 * pair + 1].numpy()
        cos, sin = np.cos(angles[..., pair].numpy()), np.sin(angles[..., pair].numpy())
        np.testing.assert_allclose(turned[..., 2 * pair], even * cos - odd * sin, atol=1e-5)
        np.testing.assert_allclose(turned[..., 2 * pair + 1], odd * cos + even * sin, atol=1e-5)
