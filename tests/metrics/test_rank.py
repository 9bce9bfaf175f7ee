"""Ranks and lists follow one order, numbers agree with hand-worked ones, users count once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ConfigError, DataError
from habitus.metrics.intervals import wilson
from habitus.metrics.rank import (
    MISS,
    paired_rank_difference,
    rank_values,
    ranking_metrics,
    standard_error,
    target_ranks,
    top_k,
)


def full_order(scores, excluded=()):
    """One row's items, the best first, by the slow way."""
    ids = [i for i in range(3, len(scores)) if i not in excluded]
    return sorted(ids, key=lambda i: (-scores[i], i))


def pairs_of(seen):
    rows = [row for row, ids in enumerate(seen) for _ in ids]
    return np.array(rows, np.int64), np.array([i for ids in seen for i in ids], np.int64)


@st.composite
def rankings(draw):
    n_rows, n_ids = draw(st.integers(1, 4)), draw(st.integers(4, 12))
    levels = draw(st.sampled_from([1, 2, 5, 50]))  # few levels: many ties
    numbers = st.lists(st.integers(0, levels), min_size=n_ids, max_size=n_ids)
    scores = np.array(draw(st.lists(numbers, min_size=n_rows, max_size=n_rows)), np.float32) / 4 - 1
    ids = st.lists(st.integers(0, n_ids - 1), max_size=n_ids)
    seen = draw(st.lists(ids, min_size=n_rows, max_size=n_rows))
    target = np.array(draw(st.lists(st.integers(3, n_ids - 1), min_size=n_rows, max_size=n_rows)))
    return scores, seen, target, draw(st.integers(1, n_ids + 2))


@settings(max_examples=200, deadline=None)
@given(rankings())
def test_ranks_and_lists_equal_a_full_sort(case):
    scores, seen, target, k = case
    ranks, (ids, best) = target_ranks(scores, target, pairs_of(seen)), top_k(scores, k, pairs_of(seen))
    assert ids.shape == best.shape == (len(scores), k)
    for row, line in enumerate(scores):
        excluded = set(seen[row])
        assert ranks[row] == full_order(line, excluded - {target[row]}).index(target[row]) + 1
        expected = full_order(line, excluded)[:k]
        assert ids[row].tolist() == expected + [0] * (k - len(expected))
        assert best[row].tolist() == [*line[expected], *[-np.inf] * (k - len(expected))]


@settings(max_examples=100, deadline=None)
@given(rankings())
def test_every_item_stands_in_the_list_at_its_rank(case):
    scores, _, _, _ = case
    n_items = scores.shape[1] - 3
    ids, _ = top_k(scores, n_items)
    for place in range(n_items):
        assert (target_ranks(scores, ids[:, place]) == place + 1).all()


def test_reserved_ids_are_never_listed_and_take_no_rank():
    scores = np.array([[9, 9, 9, 1, 2, 3]], np.float32)
    assert top_k(scores, 3)[0].tolist() == [[5, 4, 3]]
    assert target_ranks(scores, np.array([5]), (np.array([0, 0]), np.array([1, 2]))).tolist() == [1]
    unreadable = np.array([[np.nan, np.nan, np.nan, 1, 2, 3]])
    assert target_ranks(unreadable, np.array([4])).tolist() == [2]


def test_a_target_outside_the_catalogue_is_a_miss():
    scores = np.zeros((4, 6), np.float32)
    ranks = target_ranks(scores, np.array([0, 1, 2, 6]))
    assert (ranks == MISS).all()
    metrics = ranking_metrics(ranks)
    assert all(interval.value == 0 for interval in metrics.values())


def test_the_target_stays_in_though_it_was_seen_and_repeats_count_once():
    scores = np.array([[0, 0, 0, 5, 4, 3]], np.float32)
    seen = (np.array([0, 0, 0]), np.array([3, 3, 5]))
    assert target_ranks(scores, np.array([5]), seen).tolist() == [2]


def test_scores_and_exclusions_are_left_as_they_were():
    scores = np.array([[0, 0, 0, 5, 4, 3]], np.float32)
    before = scores.copy()
    top_k(scores, 2, (np.array([0]), np.array([3])))
    target_ranks(scores, np.array([4]), (np.array([0]), np.array([3])))
    assert (scores == before).all()


def test_nan_scores_are_refused():
    scores = np.zeros((2, 5), np.float32)
    scores[1, 4] = np.nan
    with pytest.raises(DataError, match="row 1"):
        target_ranks(scores, np.array([3, 3]))
    with pytest.raises(DataError, match="NaN"):
        top_k(scores, 1)


def test_an_item_scored_minus_infinity_is_not_listed():
    ids, best = top_k(np.array([[0, 0, 0, -np.inf, 1, -np.inf]]), 2)
    assert ids.tolist() == [[4, 0]] and best.tolist() == [[1, -np.inf]]


def test_metrics_worked_by_hand():
    metrics = ranking_metrics(np.array([1, 2, 3, 7, 11]), k=[1, 5, 10])
    hand = {"hr@1": 0.2, "hr@5": 0.6, "hr@10": 0.8, "ndcg@1": 0.2}
    hand["ndcg@5"] = (1 + 1 / math.log2(3) + 1 / 2) / 5
    hand["ndcg@10"] = (1 + 1 / math.log2(3) + 1 / 2 + 1 / 3) / 5
    hand["mrr"] = (1 + 1 / 2 + 1 / 3 + 1 / 7 + 1 / 11) / 5
    assert {name: interval.value for name, interval in metrics.items()} == pytest.approx(hand)
    assert metrics["hr@5"] == wilson(3, 5)
    values = np.array([1, 1 / math.log2(3), 0.5, 1 / 3, 0])
    half = 1.959964 * values.std(ddof=1) / math.sqrt(5)
    assert metrics["ndcg@10"].low == pytest.approx(max(0, values.mean() - half))
    assert metrics["ndcg@10"].high == pytest.approx(values.mean() + half)


def test_a_user_with_many_questions_counts_once():
    users = np.array([7, 7, 7, 2])
    metrics = ranking_metrics(np.array([1, 1, 50, 50]), k=[10], users=users)
    assert metrics["hr@10"].value == pytest.approx((2 / 3 + 0) / 2)
    assert standard_error(rank_values([1, 1, 50, 50], "hr@10"), users) == pytest.approx(1 / 3)
    one_each = ranking_metrics(np.array([1, 50]), k=[10], users=np.array([7, 2]))["hr@10"]
    assert one_each == wilson(1, 2)


def test_coverage_and_novelty_worked_by_hand():
    top_ids = np.array([[3, 4], [3, 0], [0, 0]])
    popularity = np.array([0, 0, 0, 6, 2, 0, 0])
    metrics = ranking_metrics(np.ones(3), top_ids=top_ids, popularity=popularity, catalogue_size=4)
    assert metrics["coverage@2"].value == 2 / 4 and math.isnan(metrics["coverage@2"].low)
    surprise = {3: -math.log2(6 / 8), 4: -math.log2(2 / 8)}
    # the empty list says nothing; padding in the second one does not count
    assert metrics["novelty@2"].value == pytest.approx(((surprise[3] + surprise[4]) / 2 + surprise[3]) / 2)
    unseen = ranking_metrics(np.ones(1), top_ids=np.array([[5]]), popularity=popularity)
    assert unseen["novelty@1"].value == pytest.approx(3)  # as if it had been seen once in 8
    assert "coverage@1" not in unseen
    long = ranking_metrics(np.ones(1), top_ids=np.arange(3, 23)[None], catalogue_size=20)
    assert long["coverage@10"].value == 0.5


def test_a_paired_difference_is_narrower_than_two_intervals():
    random = np.random.default_rng(0)
    a = random.integers(1, 30, 400)
    b = a + (random.random(400) < 0.1)
    difference = paired_rank_difference(a, b)
    one, other = (ranking_metrics(ranks, k=[10])["ndcg@10"] for ranks in (a, b))
    assert difference.value == pytest.approx(one.value - other.value)
    assert 0 < difference.high - difference.low < 0.5 * (one.high - one.low)
    assert paired_rank_difference(a, a).value == 0
    with pytest.raises(DataError, match="same questions"):
        paired_rank_difference(a, b[:-1])


def test_no_questions_and_one_question():
    assert not any(interval.is_defined for interval in ranking_metrics(np.zeros(0, np.int64)).values())
    one = ranking_metrics(np.array([2]), k=[10])
    assert one["mrr"].value == 0.5 and math.isnan(one["mrr"].low)
    assert target_ranks(np.zeros((0, 5)), np.zeros(0, np.int64)).shape == (0,)
    assert top_k(np.zeros((0, 5)), 3)[0].shape == (0, 3)
    assert top_k(np.zeros((2, 3)), 2)[0].tolist() == [[0, 0], [0, 0]]  # a catalogue of nothing


def test_unknown_metrics_and_empty_lists_are_refused():
    with pytest.raises(ConfigError, match="ndcg@K"):
        rank_values(np.array([1]), "map@10")
    with pytest.raises(ConfigError, match="usually 10"):
        top_k(np.zeros((1, 5)), 0)
