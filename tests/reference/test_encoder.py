"""Encoder and encoder-decoder against torch's layers with copied weights, both orders of the norm."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from habitus import reference as ref

B, Q, T, D, INNER, LAYERS = 2, 3, 4, 4, 6, 2
LENGTHS = np.array([4, 2])
MASK = ref.padding_mask(LENGTHS, T)
IGNORED = torch.tensor(~MASK[:, 0, 0])
SHAPES = [ref.Shape(2, norm_first, activation) for norm_first in (False, True) for activation in ("relu", "gelu")]
NORMS = {"encoder": ["attention_norm", "feed_forward_norm"], "decoder": ["attention_norm", "cross_norm"]}
NORMS["decoder"].append("feed_forward_norm")


def shaken(rng, params):
    """Move every parameter from where it starts, so that a forgotten bias or gain shows."""
    return {name: value + 0.3 * rng.normal(size=value.shape) for name, value in params.items()}


def torch_attention(params):
    rows = [ref.part(params, name) for name in ("query", "key", "value")]
    joined = {f"in_proj_{kind}": np.concatenate([row[kind] for row in rows]) for kind in ("weight", "bias")}
    return joined | ref.named("out_proj", ref.part(params, "out"))


def torch_block(params, kind="encoder"):
    """Return a block's parameters (or gradients) as torch names them."""
    values = ref.named("self_attn", torch_attention(ref.part(params, "attention")))
    if kind == "decoder":
        values |= ref.named("multihead_attn", torch_attention(ref.part(params, "cross")))
    for number, name in enumerate(NORMS[kind], start=1):
        values |= ref.named(f"norm{number}", ref.part(params, name))
    values |= ref.named("linear1", ref.part(params, "feed_forward.up"))
    return values | ref.named("linear2", ref.part(params, "feed_forward.down"))


def torch_stack(params, kind="encoder"):
    values = ref.named("norm", ref.part(params, "norm"))
    for number in range(LAYERS):
        values |= ref.named(f"layers.{number}", torch_block(ref.part(params, str(number)), kind))
    return values


def loaded(module, values):
    module.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    return module.double()


def options(shape):
    kind = {"activation": shape.activation, "norm_first": shape.norm_first, "dropout": 0.0}
    return kind | {"batch_first": True, "dtype": torch.float64}


def torch_encoder(params, shape):
    layer = nn.TransformerEncoderLayer(D, 2, INNER, **options(shape))
    norm = nn.LayerNorm(D, dtype=torch.float64) if shape.norm_first else None
    return loaded(nn.TransformerEncoder(layer, LAYERS, norm, enable_nested_tensor=False), torch_stack(params))


def torch_decoder(params, shape):
    layer = nn.TransformerDecoderLayer(D, 2, INNER, **options(shape))
    norm = nn.LayerNorm(D, dtype=torch.float64) if shape.norm_first else None
    return loaded(nn.TransformerDecoder(layer, LAYERS, norm), torch_stack(params, "decoder"))


def assert_gradients_equal(own, module):
    theirs = {name: value.grad.numpy() for name, value in module.named_parameters()}
    assert own.keys() == theirs.keys()
    for name, value in own.items():
        assert_allclose(value, theirs[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_encoder_equals_torch(rng, autograd, shape):
    x, grad = rng.normal(size=(B, T, D)), rng.normal(size=(B, T, D))
    params = shaken(rng, ref.encoder_init(rng, LAYERS, D, INNER, shape))
    theirs = torch_encoder(params, shape)
    y, cache = ref.encoder_forward(x, params, shape, MASK)
    grad_x, grads = ref.encoder_backward(grad, cache)
    expected, (by_x,) = autograd(lambda a: theirs(a, src_key_padding_mask=IGNORED), grad, x)
    assert_allclose(y, expected, atol=1e-6)
    assert_allclose(grad_x, by_x, atol=1e-5)
    assert grads.keys() == params.keys()
    assert_gradients_equal(torch_stack(grads), theirs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_encoder_decoder_equals_torch(rng, autograd, shape):
    x, y, grad = rng.normal(size=(B, T, D)), rng.normal(size=(B, Q, D)), rng.normal(size=(B, Q, D))
    params = shaken(rng, ref.encoder_decoder_init(rng, LAYERS, D, INNER, shape))
    encoder = torch_encoder(ref.part(params, "encoder"), shape)
    decoder = torch_decoder(ref.part(params, "decoder"), shape)
    ahead = torch.tensor(~ref.causal_mask(Q))

    def theirs(x, y):
        memory = encoder(x, src_key_padding_mask=IGNORED)
        return decoder(y, memory, tgt_mask=ahead, memory_key_padding_mask=IGNORED)

    states, cache = ref.encoder_decoder_forward(x, y, params, shape, MASK)
    grad_x, grad_y, grads = ref.encoder_decoder_backward(grad, cache)
    expected, (by_x, by_y) = autograd(theirs, grad, x, y)
    assert_allclose(states, expected, atol=1e-6)
    assert_allclose(grad_x, by_x, atol=1e-5)
    assert_allclose(grad_y, by_y, atol=1e-5)
    assert grads.keys() == params.keys()
    assert_gradients_equal(torch_stack(ref.part(grads, "encoder")), encoder)
    assert_gradients_equal(torch_stack(ref.part(grads, "decoder"), "decoder"), decoder)


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_decoder_equals_differences(rng, by_differences, norm_first):
    shape = ref.Shape(2, norm_first, "gelu")
    x, y, grad = rng.normal(size=(1, 3, D)), rng.normal(size=(1, 2, D)), rng.normal(size=(1, 2, D))
    params = shaken(rng, ref.encoder_decoder_init(rng, 1, D, D, shape))

    def loss():
        return (ref.encoder_decoder_forward(x, y, params, shape)[0] * grad).sum()

    grad_x, grad_y, grads = ref.encoder_decoder_backward(grad, ref.encoder_decoder_forward(x, y, params, shape)[1])
    assert_allclose(grad_x, by_differences(loss, x), atol=1e-5)
    assert_allclose(grad_y, by_differences(loss, y), atol=1e-5)
    for name in ("encoder.0.attention.key.weight", "decoder.0.cross.value.weight", "decoder.0.attention_norm.weight"):
        assert_allclose(grads[name], by_differences(loss, params[name]), atol=1e-5, err_msg=name)


def test_no_step_of_the_decoder_sees_a_later_one(rng):
    shape = ref.Shape()
    params = ref.encoder_decoder_init(rng, LAYERS, D, INNER, shape)
    x, y = rng.normal(size=(1, T, D)), rng.normal(size=(1, Q, D))
    before = ref.encoder_decoder_forward(x, y, params, shape)[0]
    y[0, 2] += 1
    after = ref.encoder_decoder_forward(x, y, params, shape)[0]
    assert_allclose(after[0, :2], before[0, :2])
    assert np.abs(after[0, 2] - before[0, 2]).max() > 0.01
