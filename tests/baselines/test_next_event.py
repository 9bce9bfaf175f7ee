"""The counting baselines of next events: counts equal slow loops, the future is not read, nothing is lost in a file."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.baselines.next_event import (
    NEXT_BASELINES,
    DecayedMarkov,
    FirstOrderMarkov,
    MostPopular,
    NGram,
    RecencyPopular,
    WindowedItemKNN,
)
from habitus.data.histories import Histories, Windows
from habitus.errors import ConfigError
from habitus.metrics.rank import top_k

DAY = 86_400_000_000
SIZE = 9


def histories_of(*lists, days=None):
    """Histories of the given items, an event a day in the order of the log, unless days are given."""
    ids = np.array([i for items in lists for i in items], np.int32)
    days = np.arange(len(ids)) if days is None else np.array(days)
    offsets = np.cumsum([0, *(len(items) for items in lists)])
    return Histories(offsets, {"item_id": ids}, {}, days.astype(np.int64) * DAY)


def random_histories(seed=0, n=12, n_events=9, lowest=1):
    random = np.random.default_rng(seed)
    return histories_of(*(random.integers(lowest, SIZE, random.integers(0, n_events)).tolist() for _ in range(n)))


def questions(histories, drop=1):
    """A window of each history without its last events, and one of a single event where there is one."""
    begin = histories.offsets[:-1]
    stop = np.maximum(begin, histories.offsets[1:] - drop)
    return Windows(np.concatenate([begin, np.maximum(begin, stop - 1)]), np.concatenate([stop, stop]))


def learned(baseline, histories, drop=1):
    return baseline.fit(histories, np.maximum(histories.offsets[:-1], histories.offsets[1:] - drop), "item_id", SIZE)


def lists_of(histories, drop):
    ids, offsets = histories.ids["item_id"].tolist(), histories.offsets.tolist()
    parts = itertools.pairwise(offsets)
    return [ids[begin : max(begin, end - drop)] for begin, end in parts]


def lists_of_windows(histories, windows):
    ids = histories.ids["item_id"].tolist()
    return [ids[begin:stop] for begin, stop in zip(windows.start, windows.stop, strict=True)]


def test_registry_names_are_the_baselines_own():
    assert list(NEXT_BASELINES) == [
        "most popular",
        "recency popular",
        "first-order Markov",
        "decayed Markov",
        "windowed item-kNN",
        "order-n n-gram",
    ]


@pytest.mark.parametrize("baseline", NEXT_BASELINES.values())
def test_a_restored_baseline_gives_the_same_scores(baseline):
    histories = random_histories()
    fitted, windows = learned(baseline(), histories), questions(histories)
    tensors, document = fitted.to_state()
    restored = baseline.from_state(tensors, json.loads(json.dumps(document)))
    scores = fitted.score(histories, windows)
    assert scores.shape == (len(windows), SIZE) and scores.dtype == np.float32
    assert (restored.score(histories, windows) == scores).all()
    again, same = restored.to_state()
    assert same == document and again.keys() == tensors.keys()
    assert all((again[name] == tensors[name]).all() for name in tensors)


@pytest.mark.parametrize("baseline", NEXT_BASELINES.values())
def test_events_after_the_stop_change_nothing(baseline):
    histories = random_histories(n=20)
    end = np.maximum(histories.offsets[:-1], histories.offsets[1:] - 2)
    is_future = np.arange(len(histories.time_us)) >= np.repeat(end, histories.lengths)
    other_ids = np.where(is_future, 5, histories.ids["item_id"]).astype(np.int32)
    other_time = np.where(is_future, histories.time_us + 900 * DAY, histories.time_us)
    other = Histories(histories.offsets, {"item_id": other_ids}, {}, other_time)
    windows = questions(histories, drop=2)
    scores = learned(baseline(), histories, drop=2).score(histories, windows)
    assert (learned(baseline(), other, drop=2).score(other, windows) == scores).all()


@pytest.mark.parametrize("baseline", NEXT_BASELINES.values())
def test_a_question_scores_the_same_alone_and_among_others(baseline):
    histories = random_histories(n=20)
    fitted, windows = learned(baseline(), histories), questions(histories)
    together = fitted.score(histories, windows)
    for row in range(len(windows)):
        assert (fitted.score(histories, windows.take(np.array([row])))[0] == together[row]).all()


@pytest.mark.parametrize("baseline", NEXT_BASELINES.values())
def test_without_a_clue_the_order_is_popularity(baseline):
    histories = histories_of([4, 5, 4, 5, 4, 3], [6, 7])
    fitted = learned(baseline(), histories, drop=0)
    empty = Windows(np.array([2]), np.array([2]))
    ids, scores = top_k(fitted.score(histories, empty), 6)
    # 8 was never seen; in time 7 is the latest
    assert ids[0].tolist() == ([4, 5, 7, 6, 3, 8] if baseline is RecencyPopular else [4, 5, 3, 6, 7, 8])
    assert scores[0, -1] == 0


@pytest.mark.parametrize("baseline", NEXT_BASELINES.values())
def test_nothing_to_learn_from_and_nothing_to_answer(baseline):
    nothing = histories_of([], [])
    fitted = learned(baseline(), nothing)
    assert (fitted.score(nothing, questions(nothing)) == 0).all()
    assert fitted.score(nothing, Windows(np.zeros(0, np.int64), np.zeros(0, np.int64))).shape == (0, SIZE)
    one = histories_of([3, 4])
    assert fitted.score(one, questions(one, drop=0)).shape == (2, SIZE)


@pytest.mark.parametrize("baseline", NEXT_BASELINES.values())
def test_reserved_ids_are_no_answers(baseline):
    histories = histories_of([1, 2, 1, 2, 1], [3, 1, 2, 4])
    scores = learned(baseline(), histories, drop=0).score(histories, questions(histories))
    assert (scores[:, :3] == 0).all()


def test_most_popular_counts_training_events():
    fitted = learned(MostPopular(), histories_of([3, 3, 4, 8], [3, 5]))
    assert fitted.shares_.tolist() == [0, 0, 0, 0.75, 0.25, 0, 0, 0, 0]


def test_recency_halves_with_every_half_life():
    histories = histories_of([3, 4, 5, 8], days=[0, 10, 20, 99])
    shares = learned(RecencyPopular(half_life_days=10), histories).shares_
    assert shares[3:6] == pytest.approx(np.array([0.25, 0.5, 1]) / 1.75, rel=1e-6)


def test_first_order_markov_by_hand():
    fitted = learned(FirstOrderMarkov(), histories_of([3, 4, 3, 5], [3, 4, 5, 4]), drop=0)
    scores = fitted.score(histories_of([6, 3]), Windows(np.array([0]), np.array([2])))
    assert scores[0, 3:7] == pytest.approx([0, 2, 1, 0], abs=0.01)
    assert scores[0, 3] > scores[0, 6] == 0  # 3 never came after 3, but is popular; 6 was never seen


def test_decayed_markov_by_hand():
    fitted = learned(DecayedMarkov(n_back=2), histories_of([3, 4, 3, 5], [3, 4, 5, 4]), drop=0)
    scores = fitted.score(histories_of([5, 4, 3]), Windows(np.array([0]), np.array([3])))
    # after 3: 4 twice, 5 once; after 4, one step earlier: 3 once, 5 once
    assert scores[0, 3:6] == pytest.approx([0.5 / 2, 2 / 3, 1 / 3 + 0.5 / 2], abs=1e-3)


def slow_decayed_markov(train, query, n_back=10):
    steps = Counter((a, b) for items in train for a, b in itertools.pairwise(items) if b >= 3)
    scores = np.zeros(SIZE)
    for d, latest in enumerate(query[::-1][:n_back], start=1):
        leaving = sum(n for (a, _), n in steps.items() if a == latest)
        for (a, b), n in steps.items():
            scores[b] += (a == latest) * n / leaving / d if leaving else 0
    return scores


def slow_item_knn(train, query, n_back=10):
    n = Counter(i for items in train for i in items)
    pairs = Counter()
    for items in train:
        for t, later in enumerate(items):
            for d in range(1, min(t, n_back) + 1):
                pairs[items[t - d], later] += (later >= 3) / d
    scores = np.zeros(SIZE)
    for d, latest in enumerate(query[::-1][:n_back], start=1):
        for (i, j), weight in pairs.items():
            scores[j] += (i == latest) * weight / (n[i] ** 0.5 * n[j] ** 0.25) / d
    return scores


def slow_ngram(train, query, order=5, min_count=2):
    for k in range(min(order, len(query)), 0, -1):
        run = query[len(query) - k :]
        after = Counter(items[t] for items in train for t in range(k, len(items)) if items[t - k : t] == run)
        after = Counter({i: n for i, n in after.items() if i >= 3})
        if after.total() >= min_count:
            return np.array([after[i] / after.total() for i in range(SIZE)])
    every = Counter(i for items in train for i in items if i >= 3)
    return np.array([every[i] / max(every.total(), 1) for i in range(SIZE)])


SLOW = {DecayedMarkov: slow_decayed_markov, WindowedItemKNN: slow_item_knn, NGram: slow_ngram}


@pytest.mark.parametrize("baseline", SLOW)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), n_events=st.integers(2, 16))
def test_scores_equal_a_slow_loop(baseline, seed, n, n_events):
    histories = random_histories(seed, n, n_events)
    windows = questions(histories)
    scores = learned(baseline(), histories).score(histories, windows)
    train = lists_of(histories, drop=1)
    for row, query in enumerate(lists_of_windows(histories, windows)):
        # what popularity and shorter runs add is below .002
        assert scores[row] == pytest.approx(SLOW[baseline](train, query), abs=2e-3)


def test_popularity_never_overturns_an_observed_pair():
    crowd = [[8] * 30 for _ in range(40)]
    for baseline in (FirstOrderMarkov, DecayedMarkov, WindowedItemKNN):
        histories = histories_of([3, 4], *crowd)
        scores = learned(baseline(), histories, drop=0).score(histories, Windows(np.array([0]), np.array([1])))
        assert scores[0].argmax() == 4 and scores[0, 8] > scores[0, 5] == 0


def test_item_knn_keeps_the_strongest_neighbours():
    histories = histories_of([3, 4], [3, 4], [3, 5], [3, 6], [7, 8])
    fitted = learned(WindowedItemKNN(n_neighbours=2, neighbour_power=0), histories, drop=0)
    matrix = fitted.transitions_.matrix
    assert np.diff(matrix.indptr).max() == 2
    assert sorted(matrix[3].indices.tolist()) == [4, 5]  # 5 and 6 are equal: the smaller id stays
    assert matrix[7].indices.tolist() == [8]


def test_ngram_uses_the_longest_run_and_backs_off():
    fitted = learned(NGram(order=3, min_count=1), histories_of([3, 4, 5, 6], [7, 4, 5, 8], [3, 3, 7]), drop=0)
    asked = histories_of([3, 4, 5], [7, 4, 5], [8, 4, 5], [4, 7])
    best = fitted.score(asked, Windows(asked.offsets[:-1], asked.offsets[1:])).argmax(axis=1)
    # the third run is unknown at length 3: after "4 5" 6 and 8 are equal; the fourth knows "7": 4
    assert best.tolist() == [6, 8, 6, 4]


def test_ngram_leaves_out_rare_runs():
    histories = histories_of([3, 4, 5], [3, 4, 5], [6, 4, 7])
    fitted = learned(NGram(order=2, min_count=2), histories, drop=0)
    assert [len(runs.keys) for runs in fitted.runs_] == [2, 1]  # "3", "4"; "3 4"
    asked = histories_of([6, 4])
    assert fitted.score(asked, Windows(np.array([0]), np.array([2])))[0].argmax() == 5


def test_pairs_are_counted_in_blocks_as_in_one_piece(monkeypatch):
    histories = random_histories(n=30)
    whole = learned(WindowedItemKNN(), histories).to_state()[0]
    monkeypatch.setattr("habitus.baselines.next_event.transitions.BLOCK", 7)
    parts = learned(WindowedItemKNN(), histories).to_state()[0]
    assert (parts["indices"] == whole["indices"]).all()
    assert parts["data"] == pytest.approx(whole["data"], rel=1e-5)


def test_impossible_options_get_a_sentence():
    with pytest.raises(ConfigError, match="usually 10"):
        WindowedItemKNN(n_back=0)
    with pytest.raises(ConfigError, match="5 and 2"):
        NGram(order=0)
    with pytest.raises(ConfigError, match="time span"):
        RecencyPopular(half_life_days=0)
