"""Choices follow the asked-for distribution, agree with a reference loop, and never break a rule."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from habitus.errors import ConfigError, DataError
from habitus.fields.category import N_RESERVED
from habitus.tasks.rules import After, Never, NoImmediateRepeat, Once, Past
from habitus.tasks.sampling import Sampling, _allowed_logits, _best, choose

B, V = 4, 12


def scores(seed=0, rows=B):
    return torch.randn(rows, V, generator=torch.Generator().manual_seed(seed)) * 2


def probabilities(scores_BV, sampling, histories=None):
    past = Past(histories or [np.zeros(0, int)] * len(scores_BV), V)
    logits = _allowed_logits(scores_BV, past, sampling, ()) / sampling.temperature
    return _best(logits, sampling.top_k, sampling.top_p).softmax(-1)


def reference(row, history, sampling):
    """Return the probabilities of one row, as the warpers of transformers make them one after the other."""
    row = [float(score) for score in row]
    row = [s if i not in history else s / sampling.repetition_penalty if s > 0 else s * sampling.repetition_penalty
           for i, s in enumerate(row)]  # fmt: skip
    row = [-math.inf if i < N_RESERVED else s / sampling.temperature for i, s in enumerate(row)]
    best = sorted(range(V), key=lambda i: -row[i])
    kept = set(best[: sampling.top_k or V])
    share = np.exp([row[i] if i in kept else -math.inf for i in range(V)])
    share, worse = share / share.sum(), 0.0
    for i in reversed(best):  # ascending: what together makes up at most 1 - p goes
        worse += share[i]
        kept -= {i} if worse <= 1 - (sampling.top_p or 1) and i != best[0] else set()
    share = np.array([share[i] if i in kept else 0 for i in range(V)])
    return share / share.sum()


@pytest.mark.parametrize("top_k", [None, 1, 3, 50])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.6, 0.95])
@pytest.mark.parametrize(("temperature", "penalty"), [(1.0, 1.0), (0.5, 1.3), (3.0, 0.7)])
def test_probabilities_are_those_of_a_reference_loop(top_k, top_p, temperature, penalty):
    sampling = Sampling(temperature, top_k, top_p, penalty)
    histories = [np.array([3, 4, 5]), np.array([9]), np.array([], int), np.arange(V)]
    ours = probabilities(scores(), sampling, histories)
    for row in range(B):
        np.testing.assert_allclose(ours[row], reference(scores()[row], histories[row], sampling), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=5, max_size=5), st.integers(1, 9), st.sampled_from([0.2, 0.5, 0.9]))
def test_on_ties_the_smaller_ids_are_kept(tied, top_k, top_p):
    row = torch.tensor([tied], dtype=torch.float32)
    best = sorted(range(5), key=lambda i: (-tied[i], i))
    kept = _best(row, top_k, None)[0].isfinite().nonzero()[:, 0].tolist()
    assert kept == sorted(best[:top_k])
    nucleus = _best(row, top_k, top_p)[0].isfinite().nonzero()[:, 0].tolist()
    assert nucleus == sorted(best[: len(nucleus)])
    share = row[0, best[:top_k]].softmax(-1, dtype=torch.float64)
    assert share[: len(nucleus)].sum() >= top_p - 1e-9 and share[: len(nucleus) - 1].sum() < top_p


def test_draws_follow_the_probabilities_and_repeat_with_the_seed():
    sampling, n = Sampling(temperature=1.5, top_k=6, top_p=0.95, seed=3), 5000
    row = scores()[:1]
    past = Past([np.zeros(0, int)] * n, V)
    ids = choose(row.expand(n, -1), past, sampling, generator=sampling.generator())
    expected = probabilities(row, sampling)[0].double().numpy()
    counts = np.bincount(ids.numpy(), minlength=V)
    assert counts[expected == 0].sum() == 0 and ids.dtype == torch.int64
    kept = expected > 0
    assert stats.chisquare(counts[kept], n * expected[kept] / expected[kept].sum()).pvalue > 1e-3
    assert torch.equal(ids, choose(row.expand(n, -1), past, sampling, generator=sampling.generator()))
    generator = sampling.generator()
    steps = [choose(row.expand(n, -1), past, sampling, generator=generator) for _ in range(2)]
    assert not torch.equal(*steps)


def test_greedy_takes_the_best_and_of_equal_ones_the_first_without_a_generator():
    tied = torch.tensor([[9.0] * 3 + [1.0, 5.0, 5.0, 2.0], [9.0] * 3 + [0.0] * 4])
    empty = [np.zeros(0, int)] * 2
    assert choose(tied, empty, Sampling(temperature=0)).tolist() == [4, 3]
    assert choose(tied, [np.array([4]), np.array([3])], Sampling(temperature=0), [Once()]).tolist() == [5, 4]
    bold = Sampling(temperature=1, top_k=1)
    assert choose(tied, empty, bold, generator=bold.generator()).tolist() == [4, 3]
    cold = Sampling(temperature=1e-4)
    assert (
        choose(scores() * 1e3, [empty[0]] * B, cold, generator=cold.generator()).tolist()
        == (scores()[:, N_RESERVED:].argmax(-1) + N_RESERVED).tolist()
    )


def test_the_k_best_are_counted_among_the_allowed():
    best = scores()[:, N_RESERVED:].argsort(descending=True) + N_RESERVED
    bold = Sampling(temperature=5, top_k=2, no_repeat=True)
    generator = bold.generator()
    for _ in range(20):
        ids = choose(scores(), [row[:3].numpy() for row in best], bold, generator=generator)
        assert all(ids[row] in best[row, 3:5] for row in range(B))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0, 0.3, 1.0, 50.0]),
    st.sampled_from([None, 2]),
    st.sampled_from([None, 0.5]),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_no_generated_history_ever_breaks_a_rule(seed, temperature, top_k, top_p, dtype):
    sampling = Sampling(temperature, top_k, top_p, repetition_penalty=1.2, seed=seed)
    rules = [Once(ids=(3, 4, 5)), Never(ids=(6,)), After(ids=(8, 7)), NoImmediateRepeat()]
    past, generator = Past([np.array([3]), np.array([], int), np.array([1, 9])], V), sampling.generator()
    for step in range(8):
        logits = (scores(seed + step, rows=3) * 20).to(dtype)
        logits[:, :N_RESERVED] = 1e4
        past.add(choose(logits, past, sampling, rules, generator).numpy())
    for ids in past.histories:
        made = ids.tolist()
        assert all(made.count(item) <= 1 for item in (3, 4, 5)) and 6 not in made
        assert all(7 in made[:place] for place, item in enumerate(made) if item == 8)
        assert all(made[place] != made[place + 1] for place in range(len(made) - 1))
        assert min(made[-8:]) >= N_RESERVED


def test_a_list_of_histories_gives_what_a_past_gives():
    histories = [np.array([3, 4]), np.array([5]), np.array([], int), np.array([11])]
    sampling = Sampling(no_repeat=True)
    ids = [choose(scores(), past, sampling, (), sampling.generator()) for past in (histories, Past(histories, V))]
    assert torch.equal(*ids)


def test_the_penalty_favours_no_repetition_whatever_the_sign():
    row = torch.tensor([[0.0, 0, 0, 2.0, 2.0, -1.0, -1.0]])
    before, after = (
        _allowed_logits(row, Past([np.array([3, 5])], 7), Sampling(repetition_penalty=p), ()) for p in (1.0, 2.0)
    )
    assert after[0, 3:].tolist() == [1.0, 2.0, -2.0, -1.0] and torch.equal(before[0, 3:], row[0, 3:])


def test_scores_that_are_broken_or_of_another_shape_are_refused():
    broken = scores()
    broken[1, 5] = math.nan
    greedy, empty = Sampling(temperature=0), [np.zeros(0, int)] * B
    with pytest.raises(DataError, match="NaN or infinite"):
        choose(broken, empty, greedy)
    assert len(choose(broken, empty, greedy, [Never(ids=(5,))])) == B  # nobody reads that score
    with pytest.raises(DataError, match="scores have shape"):
        choose(scores(), empty[:2], greedy)
    with pytest.raises(ConfigError, match=r"sampling\.generator"):
        choose(scores(), empty, Sampling())


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1}, {"temperature": 1e-9}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1},
     {"repetition_penalty": 0}],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Sampling(**options)
