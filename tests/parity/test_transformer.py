"""Transformer parts against torch's own, with copied weights, and against the formulas of the papers by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from habitus.backbones import Transformer
from habitus.backbones.attention import Attention, rotate
from habitus.backbones.transformer import Block, sinusoidal_positions

B, T, D, H = 3, 7, 12, 3
LENGTHS = torch.tensor([7, 1, 4])
IS_STEP = torch.arange(T) < LENGTHS[:, None]
SEEN = IS_STEP[:, None, None, :]


def config(**options):
    return Transformer(**({"hidden_size": D, "n_heads": H, "time_aware": False, "feedforward": 3} | options))


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
    own, x = randomised(Attention(config(causal=causal))), steps()
    theirs = nn.MultiheadAttention(D, H, batch_first=True).eval()
    copy_attention(own, theirs)
    expected = theirs(x, x, x, need_weights=False, **torch_masks(causal, padded))[0]
    mixed = own(x, None, None, SEEN if padded else None)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_with_another_mask_differs_from_torch():
    own, x = randomised(Attention(config(causal=False))), steps()
    theirs = nn.MultiheadAttention(D, H, batch_first=True).eval()
    copy_attention(own, theirs)
    expected = theirs(x, x, x, need_weights=False, **torch_masks(causal=False, padded=True))[0]
    assert (own(x, None, None, None) - expected).abs().max() > 0.01


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_a_block_equals_torch(causal):
    own, x = randomised(Block(config(causal=causal))), steps()
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
    torch.testing.assert_close(own(x, None, None, None), expected, atol=1e-5, rtol=1e-5)


def fading_by_hand(own, x, days, causal, padded):
    """Attention as a loop in float64: score_ij = q_i k_j / sqrt(d) - rate * |day_i - day_j|; step 0 never fades."""
    d = D // H
    q, k, v = nn.functional.linear(x, own.qkv.weight, own.qkv.bias).double().split(D, -1)
    mixed = torch.zeros(B, T, D, dtype=torch.float64)
    for head, rate in enumerate(own.log_rate.exp().double()):
        part = slice(head * d, (head + 1) * d)
        for row in range(B):
            for i in range(T):
                visible = [j for j in range(i + 1 if causal else T) if not padded or IS_STEP[row, j]]
                apart = torch.tensor([0.0 if j == 0 else (days[row, i] - days[row, j]).abs() for j in visible])
                scores = k[row, visible, part] @ q[row, i, part] / d**0.5 - rate * apart
                mixed[row, i, part] = scores.softmax(0) @ v[row, visible, part]
    return nn.functional.linear(mixed, own.out.weight.double(), own.out.bias.double())


def days_of(oldest):
    """Ascending times of steps, in days before the cutoff (so: negative); step 0 is the leading one."""
    ages = torch.rand(B, T, generator=torch.Generator().manual_seed(2)) * 4
    days = -(oldest - 4 + ages).sort(descending=True).values
    return days.index_fill(1, torch.tensor([0]), 0.0)


CASES = [(True, False), (False, False), (False, True)]


@pytest.mark.parametrize(("causal", "padded"), CASES)
@pytest.mark.parametrize("oldest", [4, 400, 3650])
@torch.no_grad()
def test_attention_fades_with_the_days_between_two_steps(causal, padded, oldest):
    own, x, days = randomised(Attention(config(causal=causal, time_aware=True))), steps(), days_of(oldest)
    expected = fading_by_hand(own, x, days, causal, padded)
    mixed = own(x, None, days, SEEN if padded else None)
    torch.testing.assert_close(mixed.double(), expected, atol=1e-3 if oldest > 4 else 1e-5, rtol=1e-3)
    assert (own(x, None, days * 3, SEEN if padded else None) - mixed).abs().max() > 0.01


@torch.no_grad()
def test_in_half_precision_attention_still_tells_days_apart():
    """Times of a year ago must not be rounded to four days, which is what bfloat16 has for 1,000."""
    own, x, days = randomised(Attention(config(causal=True, time_aware=True))), steps(), days_of(1000)
    expected = fading_by_hand(own, x, days, True, False)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = own(x, None, days, None)
    torch.testing.assert_close(mixed.double(), expected, atol=0.15, rtol=0.05)  # 0.05 where days are few


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


def by_hand(linear, x):
    return x @ linear.weight.numpy().astype(float).T + linear.bias.numpy()


@torch.no_grad()
def test_swiglu_follows_equation_6():
    """(Swish(x W) * (x V)) W2 with Swish(x) = x / (1 + exp(-x)), and biases."""
    own, x = randomised(Block(config(feedforward_kind="swiglu"))), steps()
    for weight in (own.attention.out.weight, own.attention.out.bias):
        weight.zero_()  # leaves the feed-forward alone
    normed = own.feedforward_norm(x).numpy().astype(float)
    swish = by_hand(own.swish, normed)
    inner = swish / (1 + np.exp(-swish)) * by_hand(own.up, normed)
    np.testing.assert_allclose(own(x, None, None, None), x.numpy() + by_hand(own.down, inner), atol=1e-5)


@pytest.mark.parametrize("kind", ["gelu", "swiglu"])
@torch.no_grad()
def test_residual_gates_scale_each_branch_by_a_sigmoid_of_its_input(kind):
    gated, x = randomised(Block(config(residual_gate=True, feedforward_kind=kind))), steps()
    plain = Block(config(feedforward_kind=kind)).eval()
    plain.load_state_dict({name: value for name, value in gated.state_dict().items() if "_gate." not in name})
    branch = plain.attention(plain.attention_norm(x), None, None, None)
    expected = x + branch / (1 + torch.exp(-nn.functional.linear(x, *gated.attention_gate.parameters())))
    branch = plain._with_feedforward(expected) - expected
    gate = nn.functional.linear(expected, *gated.feedforward_gate.parameters())
    expected = expected + branch / (1 + torch.exp(-gate))
    torch.testing.assert_close(gated(x, None, None, None), expected, atol=1e-5, rtol=1e-5)
    assert (gated(x, None, None, None) - plain(x, None, None, None)).abs().max() > 0.01
