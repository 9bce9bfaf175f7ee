"""What every encoder-decoder holds: padding and later tokens change nothing, and writing step by step is the same."""

import pytest
import torch

from habitus.backbones import EncoderDecoder
from habitus.errors import ConfigError

B, T, Q, D = 3, 6, 5, 8
LENGTHS = torch.tensor([6, 1, 4])
KINDS = [
    {"kind": "transformer"},
    {"kind": "transformer", "position": "sinusoidal"},
    {"kind": "lstm"},
    {"kind": "gru", "attention": "additive"},
    {"kind": "rnn"},
    {"kind": "lstm", "attention": "additive", "n_layers": 1},
]
every_kind = pytest.mark.parametrize("options", KINDS, ids=lambda one: "-".join(map(str, one.values())))


def built(options):
    torch.manual_seed(0)
    return EncoderDecoder(**({"hidden_size": D, "n_heads": 2, "n_layers": 2} | options)).build().eval()


def steps(n, seed):
    return torch.randn(B, n, D, generator=torch.Generator().manual_seed(seed))


@every_kind
@torch.no_grad()
def test_padding_of_the_source_changes_nothing(options):
    network, x, y = built(options), steps(T, 0), steps(Q, 1)
    states = network(x, LENGTHS, y)
    for row, n in enumerate(LENGTHS.tolist()):
        alone = network(x[row : row + 1, :n], LENGTHS[row : row + 1], y[row : row + 1])
        torch.testing.assert_close(alone[0], states[row], atol=1e-5, rtol=1e-5)


@every_kind
@torch.no_grad()
def test_a_later_token_changes_no_earlier_state(options):
    network, x, y = built(options), steps(T, 0), steps(Q, 1)
    other = y.clone()
    other[:, 3:] += 1
    torch.testing.assert_close(network(x, LENGTHS, other)[:, :3], network(x, LENGTHS, y)[:, :3], atol=1e-6, rtol=1e-5)


@every_kind
@torch.no_grad()
def test_writing_step_by_step_equals_reading_it_all_again(options):
    network, x, y = built(options), steps(T, 0), steps(Q, 1)
    state, found = network.start(network.encode(x, LENGTHS)), []
    for position in range(Q):
        states, state = network.step(y[:, position], state)
        found.append(states)
    torch.testing.assert_close(torch.stack(found, dim=1), network(x, LENGTHS, y), atol=1e-5, rtol=1e-5)
    assert state.n_steps == Q


@every_kind
@torch.no_grad()
def test_a_state_goes_with_its_row(options):
    network, x, y = built(options), steps(T, 0), steps(Q, 1)
    _, state = network.step(y[:, 0], network.start(network.encode(x, LENGTHS)))
    rows = torch.tensor([2, 0, 2])
    after, _ = network.step(y[rows, 1], state.take(rows))
    torch.testing.assert_close(after, network(x, LENGTHS, y)[rows, 1], atol=1e-5, rtol=1e-5)


@every_kind
@torch.no_grad()
def test_attention_is_shared_out_among_real_source_steps(options):
    network, x, y = built(options), steps(T, 0), steps(Q, 1)
    weights = network.alignment(y, network.encode(x, LENGTHS))
    assert weights.shape == (B, Q, T)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, Q))
    assert weights[1, :, 1:].abs().max() == 0 and weights[2, :, 4:].abs().max() == 0


@every_kind
def test_every_weight_learns(options):
    network = built(options).train()
    network(steps(T, 0), LENGTHS, steps(Q, 1)).pow(2).sum().backward()
    idle = {name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.abs().sum()}
    # of the bias of keys and of the projection of sources, softmax sees a constant
    assert not {name for name in idle if "bias" not in name}, idle


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "cnn"}, "kind='cnn'"),
        ({"attention": "local"}, "attention='local'"),
        ({"kind": "lstm", "hidden_size": 7}, "cannot be halved"),
        ({"hidden_size": 10, "n_heads": 4}, "n_heads=4"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_options_that_cannot_be_right_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        EncoderDecoder(**options)
