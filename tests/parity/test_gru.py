"""The GRU against `torch.nn.GRU` with copied weights; both ways, against torch's packed sequences."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from habitus.backbones import GRU

B, T, D = 4, 6, 8
LENGTHS = torch.tensor([6, 1, 3, 5])
BATCH = SimpleNamespace(lengths=LENGTHS)  # all that a GRU reads of a batch


def steps(seed=0):
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(seed))


def reference(stack, n_layers, bidirectional):
    """Return torch's own network with the weights of ours."""
    theirs = nn.GRU(D, D // 2 if bidirectional else D, n_layers, batch_first=True, bidirectional=bidirectional)
    weights = {}
    for suffix, layers in (("", stack.forward_layers), ("_reverse", stack.backward_layers)):
        for number, layer in enumerate(layers):
            weights |= {f"{name[:-1]}{number}{suffix}": value for name, value in layer.state_dict().items()}
    theirs.load_state_dict(weights)
    return theirs.eval()


def packed(network, x, lengths=LENGTHS):
    states = network(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0]
    return pad_packed_sequence(states, batch_first=True, total_length=T)[0]


@pytest.mark.parametrize("n_layers", [1, 3])
@torch.no_grad()
def test_one_way_equals_torch(n_layers):
    stack = GRU(hidden_size=D, n_layers=n_layers).build().eval()
    expected = reference(stack, n_layers, False)(steps())[0]
    torch.testing.assert_close(stack(steps(), BATCH), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("n_layers", [1, 3])
@torch.no_grad()
def test_both_ways_equal_torch_on_packed_sequences(n_layers):
    stack = GRU(hidden_size=D, n_layers=n_layers, bidirectional=True).build().eval()
    expected = packed(reference(stack, n_layers, True), steps())
    states = stack(steps(), BATCH)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(states[row, :length], expected[row, :length], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_backward_direction_that_starts_in_the_padding_would_be_noticed():
    stack = GRU(hidden_size=D, bidirectional=True).build().eval()
    expected = packed(reference(stack, 1, True), steps())
    states = stack(steps(), SimpleNamespace(lengths=torch.full_like(LENGTHS, T)))
    assert (states[2, :3] - expected[2, :3]).abs().max() > 0.01


def test_gradients_equal_torch():
    stack = GRU(hidden_size=D, n_layers=2, bidirectional=True, dropout=0.0).build()
    theirs = reference(stack, 2, True)
    mask = (torch.arange(T) < LENGTHS[:, None])[..., None]
    (stack(steps(), BATCH) * mask).square().sum().backward()
    (packed(theirs, steps()) * mask).square().sum().backward()
    expected = theirs.weight_hh_l0_reverse.grad
    torch.testing.assert_close(stack.backward_layers[0].weight_hh_l0.grad, expected, atol=1e-5, rtol=1e-4)
