"""Batches of an epoch: each row once, within the budgets, hardly any padding, and a pure function of seed and epoch."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.loader import BatchSampler, length_batches, padding_waste

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=80)


def log_normal_lengths(n, mean=58.0, sigma=1.0, seed=0):
    raw = np.random.default_rng(seed).lognormal(np.log(mean) - sigma**2 / 2, sigma, n)
    return np.maximum(raw.astype(np.int64), 1)


def random_batches(lengths, batch_tokens, batch_rows):
    order = np.random.default_rng(0).permutation(len(lengths))
    return [order[first : first + batch_rows] for first in range(0, len(order), batch_rows)]


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.integers(1, 200), st.integers(1, 9), st.integers(0, 3), st.booleans(), st.booleans())
def test_every_row_comes_once_and_budgets_hold(lengths, batch_tokens, batch_rows, seed, shuffled, by_length):
    lengths = np.array(lengths)
    rng = np.random.default_rng(seed) if shuffled else None
    sizes = {"batch_tokens": batch_tokens, "batch_rows": batch_rows}
    batches = length_batches(lengths, **sizes, rng=rng, by_length=by_length)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        assert 1 <= len(rows) <= batch_rows
        assert len(rows) == 1 or np.maximum(lengths[rows], 1).max() * len(rows) <= batch_tokens


@settings(max_examples=20, deadline=None)
@given(LENGTHS, st.integers(20, 200), st.integers(2, 8))
def test_no_batch_could_have_taken_its_successor(lengths, batch_tokens, batch_rows):
    lengths = np.array(lengths)
    batches = length_batches(lengths, batch_tokens=batch_tokens, batch_rows=batch_rows)
    for rows, following in pairwise(batches):
        both = np.append(rows, following[0])
        assert len(both) > batch_rows or np.maximum(lengths[both], 1).max() * len(both) > batch_tokens


def test_scoring_order_is_by_length_and_stable():
    batches = length_batches(np.array([5, 1, 5, 2, 5]), batch_tokens=10, batch_rows=8)
    assert [rows.tolist() for rows in batches] == [[1, 3], [0, 2], [4]]


def test_no_rows_make_no_batches():
    assert length_batches(np.zeros(0, dtype=np.int64), batch_tokens=9, batch_rows=9) == []


@pytest.mark.parametrize(
    ("n", "batch_tokens", "batch_rows"),
    [(13_000, 8192, 64), (4000, 8192, 64), (4000, 2048, 64), (4000, 16384, 512), (1000, 1024, 8)],
)
@pytest.mark.parametrize("epoch", [0, 7])
def test_padding_wastes_at_most_five_percent(n, batch_tokens, batch_rows, epoch):
    lengths = log_normal_lengths(n)
    assert lengths.mean() == pytest.approx(58, rel=0.1)
    sampler = BatchSampler(lengths, batch_tokens, batch_rows, seed=1)
    assert padding_waste(lengths, sampler.epoch_batches(epoch)) <= 0.05


def test_batches_at_random_waste_far_more():
    lengths = log_normal_lengths(4000)
    assert padding_waste(lengths, random_batches(lengths, 8192, 64)) > 0.5


def test_rows_put_together_at_random_have_all_lengths():
    lengths = np.arange(1, 1001)
    spread = {}
    for by_length in (True, False):
        batches = BatchSampler(lengths, 10**6, 50, seed=1, by_length=by_length).epoch_batches(0)
        spread[by_length] = [np.ptp(lengths[rows]) for rows in batches]
    assert max(spread[True]) < 100 and min(spread[False]) > 600 and len(spread[False]) == 20


def test_waste_by_hand():
    lengths = np.array([4, 2, 0])  # an empty row takes one slot
    assert padding_waste(lengths, [np.array([0, 1]), np.array([2])]) == pytest.approx(2 / 9)
    assert padding_waste(lengths, []) == 0


def batches_of(seed=0, epoch=0, **processes):
    sampler = BatchSampler(log_normal_lengths(200), 512, 8, seed=seed, **processes)
    return [rows.tolist() for rows in sampler.epoch_batches(epoch)]


def test_an_epoch_is_a_pure_function_of_seed_and_epoch():
    sampler = BatchSampler(log_normal_lengths(200), 512, 8, seed=0)
    for epoch in (3, 0, 1):  # in any order, and whatever the global random state
        np.random.seed(epoch)
        assert [rows.tolist() for rows in sampler.epoch_batches(epoch)] == batches_of(epoch=epoch)
    assert batches_of(epoch=1) != batches_of(epoch=0) != batches_of(seed=1)


def test_neighbours_change_from_epoch_to_epoch():
    first, second = ({tuple(sorted(rows)) for rows in batches_of(epoch=epoch)} for epoch in (0, 1))
    assert len(first & second) < len(first) / 2


@pytest.mark.parametrize("n_processes", [2, 3, 8])
def test_processes_cover_all_rows_and_take_equally_many_batches(n_processes):
    shares = [batches_of(process=process, n_processes=n_processes) for process in range(n_processes)]
    assert len({len(share) for share in shares}) == 1
    whole = batches_of()
    assert {tuple(rows) for share in shares for rows in share} == {tuple(rows) for rows in whole}
    assert sum(map(len, shares)) - len(whole) < n_processes  # no more repeats than are needed


def test_more_processes_than_batches_still_take_equally_many():
    """A process without a batch would leave the others waiting for its gradients for ever."""
    shares = [BatchSampler(np.array([3, 3]), 8, 8, 0, process, 4).epoch_batches(0) for process in range(4)]
    assert [len(share) for share in shares] == [1, 1, 1, 1]
