"""Recurrent backbones: what cannot work is refused in a sentence, and how they start. Arithmetic: tests/parity."""

import pytest
import torch
from torch import nn

from habitus.backbones import GRU, LSTM, RNN
from habitus.backbones.recurrent import cell_weights
from habitus.errors import ConfigError

KINDS = [GRU, LSTM, RNN]
every_kind = pytest.mark.parametrize("kind", KINDS)


def layers(config):
    torch.manual_seed(0)
    stack = config.build()
    return [*stack.forward_layers, *stack.backward_layers]


@every_kind
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 0}, "must be 1 or more"),
        ({"n_layers": 0}, "must be 1 or more"),
        ({"hidden_size": 7, "bidirectional": True}, "use an even one"),
        ({"pooling": "cls"}, "needs a Transformer; {name} pools"),
        ({"pooling": "sum"}, "mean"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
    ],
)
def test_options_that_cannot_work_are_refused(kind, options, said):
    with pytest.raises(ConfigError, match=said.format(name=kind.__name__)):
        kind(**options)


@every_kind
def test_only_one_way_is_causal(kind):
    assert kind().is_causal and not kind(bidirectional=True).is_causal


@every_kind
def test_layers_are_as_wide_as_asked(kind):
    stack = kind(hidden_size=6, n_layers=2, bidirectional=True).build()
    batch = type("B", (), {"lengths": torch.tensor([3, 2])})
    assert stack(torch.zeros(2, 3, 6), batch).shape == (2, 3, 6)


@every_kind
def test_dropout_is_between_layers_and_only_in_training(kind):
    batch, steps = type("B", (), {"lengths": torch.tensor([9, 9])}), torch.randn(2, 9, 8)
    one, two = kind(hidden_size=8, dropout=0.5).build(), kind(hidden_size=8, n_layers=2, dropout=0.5).build()
    assert torch.equal(one(steps, batch), one(steps, batch))  # a single layer has nothing in between
    assert not torch.equal(two(steps, batch), two(steps, batch))
    assert torch.equal(two.eval()(steps, batch), two(steps, batch))


@every_kind
def test_saved_weights_keep_their_names(kind):
    """Bundles of older versions must load: the names are part of the format."""
    names = list(kind(hidden_size=4, n_layers=2, bidirectional=True).build().state_dict())
    parts = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    places = ("forward_layers.0", "forward_layers.1", "backward_layers.0", "backward_layers.1")
    assert names == [f"{place}.{part}" for place in places for part in parts]


def test_the_gru_starts_as_it_always_did():
    """With torch's own weights, drawn layer by layer: a seed gives the network that it gave before."""
    torch.manual_seed(0)
    expected = [weight for _ in range(4) for weight in nn.GRU(8, 4).parameters()]
    found = [
        weight for layer in layers(GRU(hidden_size=8, n_layers=2, bidirectional=True)) for weight in cell_weights(layer)
    ]
    assert all(torch.equal(own, other) for own, other in zip(found, expected, strict=True))


def test_a_fresh_lstm_remembers():
    for layer in layers(LSTM(hidden_size=8, n_layers=2, bidirectional=True)):
        width = layer.hidden_size
        both = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
        assert torch.equal(both[width : 2 * width], torch.ones(width))  # gates: input, forget, cell, output
        others = torch.cat([both[:width], both[2 * width :]])
        assert 0 < others.abs().max() <= 2 * width**-0.5
    stack = LSTM(hidden_size=8).build()
    with torch.no_grad():
        for name, weight in stack.named_parameters():
            if "weight" in name:
                weight.zero_()
        state = stack.start()
        _, after = stack.step(torch.zeros(1, 8), None, type(state)(0, state.hidden, None, torch.full((1, 1, 8), 100.0)))
    kept = after.cell / 100
    assert (kept - torch.tensor(1.0).sigmoid()).abs().max() < 0.01  # of what it held; 0.5 without the bias


def test_recurrent_weights_of_a_fresh_rnn_neither_stretch_nor_shrink():
    for layer in layers(RNN(hidden_size=8, n_layers=2, bidirectional=True)):
        square = layer.weight_hh_l0 @ layer.weight_hh_l0.T
        torch.testing.assert_close(square, torch.eye(layer.hidden_size), atol=1e-5, rtol=0.0)


def test_a_stream_of_one_backbone_is_not_read_by_another():
    state = GRU(hidden_size=8).build().start()
    with pytest.raises(AssertionError, match="another backbone"):
        LSTM(hidden_size=8).build().step(torch.zeros(1, 8), None, state)
