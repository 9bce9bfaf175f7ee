"""Whole networks: the future, padding and the company of other rows change nothing.

Weights are drawn anew, because a fresh head starts at zero and would answer alike whatever it reads.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from habitus.backbones import GRU, LSTM, RNN, Transformer
from habitus.data.batch import SequenceTensors
from habitus.data.encode import EncodedSequences
from habitus.tasks import Classify, Embedder, Inputs, SequenceNetwork

D, T = 16, 48
INPUTS = Inputs({"item": 11}, {"amount": [-1.0, 0.0, 2.0]}, {"region": 5}, {"income": []})
WIDE = {"hidden_size": D, "n_layers": 2}
CAUSAL = {
    "gru": GRU(**WIDE),
    "lstm": LSTM(**WIDE),
    "rnn": RNN(**WIDE),
    "gru last": GRU(**WIDE, pooling="last"),
    "gru attention": GRU(hidden_size=D, pooling="attention"),
    **{
        position: Transformer(**WIDE, position=position, causal=True)
        for position in ("rotary", "sinusoidal", "learned", "none")
    },
    "no time": Transformer(**WIDE, time_aware=False, causal=True, pooling="last"),
}
SEES_ALL = {
    "gru both ways": GRU(**WIDE, bidirectional=True),
    "lstm both ways": LSTM(**WIDE, bidirectional=True),
    "rnn both ways": RNN(**WIDE, bidirectional=True),
    "transformer": Transformer(**WIDE, causal=False),
    "sinusoidal max": Transformer(hidden_size=D, position="sinusoidal", pooling="max", causal=False),
    "cls": Transformer(**WIDE, pooling="cls", causal=False),
    "attention mean": Transformer(hidden_size=D, pooling="mean", time_aware=False, causal=False),
}
ALL = CAUSAL | SEES_ALL


def rows_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    n, total = len(lengths), int(sum(lengths))
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids={"item": rng.integers(1, 11, total).astype(np.int32)},
        numbers={"amount": rng.normal(size=(total, 2)).astype(np.float32)},
        age_days=rng.exponential(60, total).astype(np.float32),
        gap_days=rng.exponential(2, total).astype(np.float32),
        hour=rng.integers(0, 24, total).astype(np.int8),
        weekday=rng.integers(0, 7, total).astype(np.int8),
        profile_ids={"region": rng.integers(1, 5, n).astype(np.int32)},
        profile_numbers={"income": rng.normal(size=(n, 2)).astype(np.float32)},
        n_events=np.array(lengths),
        example=np.arange(n),
    )


def network_of(backbone, seed=0):
    task = Classify("risk")
    task.classes_ = ["0", "1"]
    network = SequenceNetwork(INPUTS, backbone, task, use_time=True, wide=True).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network


def batch_of(encoded, rows):
    return SequenceTensors(encoded, with_bags=True).gather(np.asarray(rows))


def with_other_events(batch, k, seed=9):
    """Return the batch with every event after step k replaced, in all of its fields."""
    other = batch_of(rows_of([T, T], seed), [0, 1])

    def changed(own, new):
        return torch.cat([own[:, : k + 1], new[:, k + 1 :]], dim=1)

    names = ("age_days", "gap_days", "hour", "weekday")
    flat = {name: changed(getattr(batch, name), getattr(other, name)) for name in names}
    dicts = {
        name: {key: changed(value, getattr(other, name)[key]) for key, value in getattr(batch, name).items()}
        for name in ("ids", "numbers", "bag_weights")
    }
    return replace(batch, **flat, **dicts)


@torch.no_grad()
def change_of_states(backbone, k):
    """Return the largest change of states up to k, and of those after k, when every later event changes."""
    network, batch = network_of(backbone), batch_of(rows_of([T, T]), [0, 1])
    change = (network.states(with_other_events(batch, k)) - network.states(batch)).abs()
    return change[:, : k + 1].max().item(), change[:, k + 1 :].max().item()


@pytest.mark.parametrize("k", [0, 17, 39, T - 2])
@pytest.mark.parametrize("name", CAUSAL)
def test_later_events_change_no_earlier_state_by_one_bit(name, k):
    before, after = change_of_states(CAUSAL[name], k)
    assert CAUSAL[name].is_causal
    assert before == 0.0 and after > 0.01


@pytest.mark.parametrize("name", [name for name in SEES_ALL if name != "cls"])
def test_a_backbone_that_sees_all_is_noticed(name):
    assert not SEES_ALL[name].is_causal
    assert change_of_states(SEES_ALL[name], 17)[0] > 0.001


def probabilities(network, batch):
    with torch.no_grad():
        return network(batch).double().softmax(-1)


LENGTHS = [3, 50, 0, 1, 17, 50, 8]


@pytest.mark.parametrize("name", ALL)
def test_alone_equals_in_a_batch(name):
    network, encoded = network_of(ALL[name]), rows_of(LENGTHS)
    together = probabilities(network, batch_of(encoded, range(7)))
    alone = torch.cat([probabilities(network, batch_of(encoded, [row])) for row in range(7)])
    assert (together - alone).abs().max() <= 1e-5
    assert together[:, 0].std() > 0.01  # the answers differ from row to row


@pytest.mark.parametrize("name", ALL)
def test_the_company_of_other_rows_changes_nothing(name):
    network, encoded = network_of(ALL[name]), rows_of(LENGTHS)
    whole = probabilities(network, batch_of(encoded, range(7)))
    for rows in ([6, 0, 1], [2, 4], [3, 3, 6]):
        assert (probabilities(network, batch_of(encoded, rows)) - whole[rows]).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ALL)
def test_the_same_batch_gives_the_same_bits(name):
    network, batch = network_of(ALL[name]), batch_of(rows_of(LENGTHS), range(7))
    assert torch.equal(probabilities(network, batch), probabilities(network, batch))


@pytest.mark.parametrize("name", ["transformer", "cls", "gru both ways", "gru", "lstm both ways", "rnn"])
def test_padding_that_counts_as_events_would_be_noticed(name):
    network, encoded = network_of(ALL[name]), rows_of(LENGTHS)
    batch = batch_of(encoded, range(7))
    n_steps = batch.is_step.shape[1]
    blind = replace(
        batch,
        is_step=torch.ones_like(batch.is_step),
        lengths=torch.full_like(batch.lengths, n_steps),
        has_padding=False,
    )
    alone = torch.cat([probabilities(network, batch_of(encoded, [row])) for row in range(7)])
    assert (probabilities(network, blind) - alone).abs().max() > 0.001


@pytest.mark.parametrize("name", ["transformer", "cls", "gru", "lstm", "rnn"])
@torch.no_grad()
def test_embeddings_are_the_pooled_states_and_do_not_depend_on_the_batch(name):
    embedder, encoded = Embedder(network_of(ALL[name])), rows_of(LENGTHS)
    together = embedder(batch_of(encoded, range(7)))
    alone = torch.cat([embedder(batch_of(encoded, [row])) for row in range(7)])
    assert together.shape == (7, D)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
