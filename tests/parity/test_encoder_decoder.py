"""Encoder-decoders against torch's own layers, against NumPy (`habitus.reference`) and against the papers' formulas."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from habitus.backbones import EncoderDecoder
from habitus.reference.attention import padding_mask
from habitus.reference.encoder import Shape
from habitus.reference.encoder_decoder import encoder_decoder_forward

B, T, Q, D, H = 3, 6, 5, 12, 3
LENGTHS = torch.tensor([6, 1, 4])
IS_STEP = torch.arange(T) < LENGTHS[:, None]


def randomised(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def built(**options):
    return randomised(EncoderDecoder(**({"hidden_size": D, "n_heads": H, "n_layers": 2} | options)).build())


def steps(n, seed=1):
    return torch.randn(B, n, D, generator=torch.Generator().manual_seed(seed))


def linear(name, module):
    return {f"{name}.weight": module.weight.detach().numpy(), f"{name}.bias": module.bias.detach().numpy()}


def norm(name, module):
    return {f"{name}.weight": module.weight.detach().numpy(), f"{name}.bias": module.bias.detach().numpy()}


def split(name, module, parts):
    """A linear layer that makes several things at once, as one layer for each."""
    found = {}
    for part, weight, bias in zip(parts, module.weight.chunk(len(parts)), module.bias.chunk(len(parts)), strict=True):
        found[f"{name}.{part}.weight"] = weight.detach().numpy()
        found[f"{name}.{part}.bias"] = bias.detach().numpy()
    return found


def block_params(name, block):
    found = split(f"{name}.attention", block.attention.qkv, ("query", "key", "value"))
    found |= linear(f"{name}.attention.out", block.attention.out) | norm(f"{name}.attention_norm", block.attention_norm)
    found |= linear(f"{name}.feed_forward.up", block.up) | linear(f"{name}.feed_forward.down", block.down)
    found |= norm(f"{name}.feed_forward_norm", block.feedforward_norm)
    if hasattr(block, "cross"):
        found |= split(f"{name}.cross", block.cross.key_value, ("key", "value"))
        found |= linear(f"{name}.cross.query", block.cross.query) | linear(f"{name}.cross.out", block.cross.out)
        found |= norm(f"{name}.cross_norm", block.cross_norm)
    return found


def test_the_transformer_equals_the_reference_in_numpy():
    own = built(position="none", feedforward=3)
    params = norm("encoder.norm", own.encoder_norm) | norm("decoder.norm", own.decoder_norm)
    for side, blocks in (("encoder", own.encoder), ("decoder", own.decoder)):
        for number, block in enumerate(blocks):
            params |= block_params(f"{side}.{number}", block)
    shape = Shape(n_heads=H, norm_first=True, activation="gelu")
    x, y = steps(T), steps(Q, 2)
    expected, _ = encoder_decoder_forward(
        x.numpy().astype(float), y.numpy().astype(float), params, shape, padding_mask(LENGTHS.numpy(), T)
    )
    np.testing.assert_allclose(own(x, LENGTHS, y).detach().numpy(), expected, atol=2e-5)


def copied(own, theirs, cross=False):
    """Give torch's attention the weights of ours."""
    with torch.no_grad():
        if cross:
            theirs.in_proj_weight.copy_(torch.cat([own.query.weight, own.key_value.weight]))
            theirs.in_proj_bias.copy_(torch.cat([own.query.bias, own.key_value.bias]))
        else:
            theirs.in_proj_weight.copy_(own.qkv.weight)
            theirs.in_proj_bias.copy_(own.qkv.bias)
        theirs.out_proj.load_state_dict(own.out.state_dict())


@torch.no_grad()
def test_a_decoder_block_equals_torch():
    own = built(position="none", feedforward=3, n_layers=1)
    block = own.decoder[0]
    theirs = nn.TransformerDecoderLayer(D, H, 3 * D, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    copied(block.attention, theirs.self_attn)
    copied(block.cross, theirs.multihead_attn, cross=True)
    pairs = [
        (block.attention_norm, theirs.norm1), (block.cross_norm, theirs.norm2), (block.feedforward_norm, theirs.norm3),
        (block.up, theirs.linear1), (block.down, theirs.linear2),
    ]  # fmt: skip
    for ours, other in pairs:
        other.load_state_dict(ours.state_dict())
    encoded, y = own.encode(steps(T), LENGTHS), steps(Q, 2)
    ahead = torch.triu(torch.ones(Q, Q, dtype=torch.bool), 1)
    expected = theirs(y, encoded.states_BTD, tgt_mask=ahead, memory_key_padding_mask=~IS_STEP)
    torch.testing.assert_close(block.read(y, None, encoded), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_encoder_block_equals_torch():
    own = built(position="none", feedforward=3, n_layers=1)
    block = own.encoder[0]
    theirs = nn.TransformerEncoderLayer(D, H, 3 * D, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    copied(block.attention, theirs.self_attn)
    pairs = [
        (block.attention_norm, theirs.norm1), (block.feedforward_norm, theirs.norm2),
        (block.up, theirs.linear1), (block.down, theirs.linear2),
    ]  # fmt: skip
    for ours, other in pairs:
        other.load_state_dict(ours.state_dict())
    expected = own.encoder_norm(theirs(steps(T), src_key_padding_mask=~IS_STEP))
    states = own.encode(steps(T), LENGTHS).states_BTD
    torch.testing.assert_close(states[IS_STEP], expected[IS_STEP], atol=1e-5, rtol=1e-5)


def torch_encoder(own, kind):
    """torch's bidirectional layers with our weights."""
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](D, D // 2, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for number in range(2):
            for suffix, layers in (("", own.encoder.forward_layers), ("_reverse", own.encoder.backward_layers)):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(theirs, f"{name}_l{number}{suffix}").copy_(getattr(layers[number], f"{name}_l0"))
    return theirs


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@torch.no_grad()
def test_the_recurrent_encoder_equals_torch_on_packed_sequences(kind):
    own = built(kind=kind)
    packed = pack_padded_sequence(steps(T), LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(torch_encoder(own, kind)(packed)[0], batch_first=True)
    states = own.encode(steps(T), LENGTHS).states_BTD
    torch.testing.assert_close(states[IS_STEP], expected[IS_STEP], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_dot_attention_equals_the_formulas_of_luong():
    own = built(kind="lstm", n_layers=1)
    x, y = steps(T), steps(Q, 2)
    encoded = own.encode(x, LENGTHS)
    summary = torch.stack(
        [torch.cat([s[n - 1, : D // 2], s[0, D // 2 :]]) for s, n in zip(encoded.states_BTD, LENGTHS, strict=True)]
    )
    hidden, cell = torch.tanh(own.bridge(summary)).chunk(2, dim=-1)
    states, _ = own.decoder.forward_layers[0](y, (hidden[None].contiguous(), cell[None].contiguous()))
    for row, n in enumerate(LENGTHS.tolist()):
        for step in range(Q):
            source, state = encoded.states_BTD[row, :n], states[row, step]
            weights = torch.softmax(source @ state, dim=0)  # eq. 7 and 8
            expected = torch.tanh(own.answer(torch.cat([weights @ source, state])))  # eq. 5
            torch.testing.assert_close(own(x, LENGTHS, y)[row, step], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_additive_attention_equals_the_formulas_of_bahdanau():
    own = built(kind="gru", n_layers=1, attention="additive")
    x, y = steps(T), steps(Q, 2)
    encoded, answers = own.encode(x, LENGTHS), own(x, LENGTHS, y)
    additive, layer = own.additive, own.decoder.forward_layers[0]
    for row, n in enumerate(LENGTHS.tolist()):
        source = encoded.states_BTD[row, :n]
        state = torch.tanh(own.bridge(torch.cat([source[n - 1, : D // 2], source[0, D // 2 :]])))
        for step in range(Q):
            scores = torch.tanh(
                additive.of_state.weight @ state + source @ additive.of_source.weight.T + additive.of_source.bias
            )
            context = torch.softmax(scores @ additive.score.weight[0], dim=0) @ source
            read = own.joined(torch.cat([y[row, step], context]))
            state = layer(read[None, None], state[None, None])[0][0, 0]
            expected = torch.tanh(own.answer(torch.cat([context, state])))
            torch.testing.assert_close(answers[row, step], expected, atol=1e-5, rtol=1e-5)
