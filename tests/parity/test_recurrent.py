"""RNN, LSTM and GRU against torch's own networks with copied weights, on packed sequences: values and gradients."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from habitus.backbones import GRU, LSTM, RNN

B, T, D = 4, 6, 8
LENGTHS = torch.tensor([6, 1, 3, 5])
BATCH = SimpleNamespace(lengths=LENGTHS)  # all that a recurrent backbone reads of a batch
IS_STEP = torch.arange(T) < LENGTHS[:, None]
KINDS = {"rnn": (RNN, nn.RNN), "lstm": (LSTM, nn.LSTM), "gru": (GRU, nn.GRU)}
every_shape = [
    pytest.mark.parametrize("kind", KINDS),
    pytest.mark.parametrize("n_layers", [1, 3]),
    pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"]),
]


def for_every_shape(test):
    for mark in every_shape:
        test = mark(test)
    return test


def steps(seed=0):
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(seed))


def pair(kind, n_layers, bidirectional):
    """Return our network, torch's own with the same weights, and (our weight, its name in torch's)."""
    config, theirs = KINDS[kind]
    torch.manual_seed(0)
    stack = config(hidden_size=D, n_layers=n_layers, bidirectional=bidirectional, dropout=0.0).build()
    width = D // 2 if bidirectional else D
    reference = theirs(D, width, n_layers, batch_first=True, bidirectional=bidirectional)
    named = {}
    for suffix, layers in (("", stack.forward_layers), ("_reverse", stack.backward_layers)):
        for number, layer in enumerate(layers):
            named |= {f"{name[:-1]}{number}{suffix}": weight for name, weight in layer.named_parameters()}
    reference.load_state_dict({name: weight.detach() for name, weight in named.items()})
    return stack, reference, named


def packed(network, x, lengths=LENGTHS):
    states = network(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0]
    return pad_packed_sequence(states, batch_first=True, total_length=T)[0]


@for_every_shape
@torch.no_grad()
def test_states_equal_torch(kind, n_layers, bidirectional):
    stack, reference, _ = pair(kind, n_layers, bidirectional)
    expected = packed(reference, steps())[IS_STEP]
    torch.testing.assert_close(stack(steps(), BATCH)[IS_STEP], expected, atol=1e-6, rtol=0.0)


@for_every_shape
def test_gradients_equal_torch(kind, n_layers, bidirectional):
    stack, reference, named = pair(kind, n_layers, bidirectional)
    ours, theirs = steps().requires_grad_(), steps().requires_grad_()
    stack(ours, BATCH)[IS_STEP].square().mean().backward()
    packed(reference, theirs)[IS_STEP].square().mean().backward()
    torch.testing.assert_close(ours.grad[IS_STEP], theirs.grad[IS_STEP], atol=1e-6, rtol=0.0)
    for name, weight in reference.named_parameters():
        torch.testing.assert_close(named[name].grad, weight.grad, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_changes_nothing(kind):
    stack, _, _ = pair(kind, 2, True)
    other = torch.where(IS_STEP[..., None], steps(), steps(seed=9) * 100)
    assert torch.equal(stack(other, BATCH)[IS_STEP], stack(steps(), BATCH)[IS_STEP])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_backward_direction_that_starts_in_the_padding_would_be_noticed(kind):
    stack, reference, _ = pair(kind, 1, True)
    expected = packed(reference, steps())
    states = stack(steps(), SimpleNamespace(lengths=torch.full_like(LENGTHS, T)))
    assert (states[2, :3] - expected[2, :3]).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_one_event_at_a_time_equals_torch(kind):
    stack, reference, _ = pair(kind, 3, False)
    state, answers = stack.start(B), []
    for index in range(T):
        answer, state = stack.step(steps()[:, index], None, state)
        answers.append(answer)
    expected, last = reference(steps())
    torch.testing.assert_close(torch.stack(answers, 1), expected, atol=1e-6, rtol=0.0)
    hidden, cell = last if kind == "lstm" else (last, None)
    torch.testing.assert_close(state.hidden, hidden, atol=1e-6, rtol=0.0)
    assert (cell is None) == (state.cell is None)
    if cell is not None:
        torch.testing.assert_close(state.cell, cell, atol=1e-6, rtol=0.0)
