"""The torch backbones against the arithmetic of `habitus.reference`, with copied weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from habitus import reference as ref
from habitus.backbones import GRU, LSTM, RNN, Transformer

B, T, D, H, LAYERS = 3, 6, 8, 2, 2
LENGTHS = np.array([6, 1, 4])
IS_STEP = np.arange(T) < LENGTHS[:, None]
BATCH = SimpleNamespace(lengths=torch.tensor(LENGTHS), is_step=torch.tensor(IS_STEP), has_padding=True, age_days=None)


def randomised(module):
    """Give every weight a value that is not what it starts with, so that a forgotten bias or gain shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return module.double().eval()


def arrays(module):
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def steps():
    return np.random.default_rng(1).normal(size=(B, T, D))


def block_params(block):
    """Return a block's weights under the names of the reference."""
    own = arrays(block)
    params = ref.named("attention.out", ref.part(own, "attention.out"))
    for kind in ("weight", "bias"):
        for name, rows in zip(("query", "key", "value"), np.split(own[f"attention.qkv.{kind}"], 3), strict=True):
            params[f"attention.{name}.{kind}"] = rows
    for name in ("attention_norm", "feedforward_norm"):
        params |= ref.named(name.replace("feedforward", "feed_forward"), ref.part(own, name))
    for name in ("up", "down"):
        params |= ref.named(f"feed_forward.{name}", ref.part(own, name))
    return params


def stack_params(stack):
    params = ref.named("norm", arrays(stack.norm))
    for number, block in enumerate(stack.blocks):
        params |= ref.named(str(number), block_params(block))
    return params


def expected_states(stack, x, causal, position):
    """Return what the reference makes of the steps: positions, the leading step in front, blocks, the last norm."""
    placed = x + ref.sinusoidal_positions(T, D) if position == "sinusoidal" else x
    lead = np.broadcast_to(stack.lead.detach().numpy(), (B, 1, D))
    mask = ref.padding_mask(LENGTHS + 1, T + 1)
    mask = ref.causal_mask(T + 1) & mask if causal else mask
    shape = ref.Shape(n_heads=H, norm_first=True, activation="gelu")
    return ref.encoder_forward(np.concatenate([lead, placed], axis=1), stack_params(stack), shape, mask)[0][:, 1:]


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
@torch.no_grad()
def test_the_recurrent_backbones(kind):
    stack, x = randomised(kind(hidden_size=D, n_layers=LAYERS).build()), steps()
    forward, n_parts = getattr(ref, f"{kind.__name__.lower()}_forward"), 2 if kind is LSTM else 1
    states = x
    for layer in stack.forward_layers:
        params = {name.removesuffix("_l0"): value for name, value in arrays(layer).items()}
        states = forward(states, (np.zeros((B, D)),) * n_parts, params)[0]
    assert_allclose(stack(torch.tensor(x), BATCH), states, atol=1e-5)
    last = states[np.arange(B), LENGTHS - 1]
    assert_allclose(stack.forward_last(torch.tensor(x), BATCH), last, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("position", ["sinusoidal", "none"])
@torch.no_grad()
def test_the_transformer_backbone(causal, position):
    config = Transformer(D, LAYERS, H, position=position, time_aware=False, causal=causal, pooling="mean")
    stack, x = randomised(config.build()), steps()
    states = stack(torch.tensor(x), BATCH).numpy()
    assert_allclose(states[IS_STEP], expected_states(stack, x, causal, position)[IS_STEP], atol=1e-5)


@torch.no_grad()
def test_another_mask_would_be_noticed():
    config = Transformer(D, LAYERS, H, position="none", time_aware=False, causal=False, pooling="mean")
    stack, x = randomised(config.build()), steps()
    states = stack(torch.tensor(x), BATCH).numpy()
    assert np.abs(states - expected_states(stack, x, True, "none"))[IS_STEP].max() > 0.01


def test_gradients_of_the_transformer_backbone():
    config = Transformer(D, 1, H, dropout=0.0, position="none", time_aware=False, pooling="mean")
    stack, x = randomised(config.build()), steps()
    grad = np.random.default_rng(2).normal(size=(B, T, D)) * IS_STEP[:, :, None]
    stack(torch.tensor(x), BATCH).backward(torch.tensor(grad))

    lead = np.broadcast_to(stack.lead.detach().numpy(), (B, 1, D))
    shape = ref.Shape(n_heads=H, norm_first=True, activation="gelu")
    whole = np.concatenate([lead, x], axis=1)
    cache = ref.encoder_forward(whole, stack_params(stack), shape, ref.causal_mask(T + 1))[1]
    grad_x, grads = ref.encoder_backward(np.pad(grad, ((0, 0), (1, 0), (0, 0))), cache)
    assert_allclose(grad_x[:, 0].sum(axis=0), stack.lead.grad, atol=1e-5)
    assert_allclose(grads["0.feed_forward.up.weight"], stack.blocks[0].up.weight.grad, atol=1e-5)
    qkv = [grads[f"0.attention.{name}.weight"] for name in ("query", "key", "value")]
    assert_allclose(np.concatenate(qkv), stack.blocks[0].attention.qkv.weight.grad, atol=1e-5)
