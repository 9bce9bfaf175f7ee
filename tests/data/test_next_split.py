"""Which events train, choose and judge: by positions, so that no event has two parts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.histories import Histories
from habitus.data.next_split import NextSplit
from habitus.errors import ConfigError, DataError


def histories(lengths, times=None, seed=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if times is None:
        draw = np.random.default_rng(seed).integers(0, 50, offsets[-1])  # with ties
        times = np.concatenate([np.sort(draw[a:b]) for a, b in pairwise(offsets)])
    return Histories(offsets, {}, {}, np.asarray(times, dtype=np.int64))


def test_leave_one_out_by_hand():
    parts = NextSplit("leave-one-out").divide(histories([5, 1, 2, 3]))
    assert parts.train_stop.tolist() == [3, 6, 8, 9]  # histories of one or two events only train
    assert parts.validation.row.tolist() == [0, 3] and parts.validation.stop.tolist() == [3, 9]
    assert parts.test["last"].stop.tolist() == [4, 10] and list(parts.test) == ["last"] and parts.cut_us is None


def test_temporal_by_hand():
    #            entity 0            entity 1        2     3: before any cut
    times = [0, 1, 2, 6, 8, 9, *(3, 7, 9, 9), *(9,), *(0, 1)]
    parts = NextSplit("temporal", quantile=0.7).divide(histories([6, 4, 1, 2], times))
    assert parts.cut_us == 8  # of 0 0 1 1 2 3 6 7 8 9 9 9 9 the one at 0.7 * 12
    assert parts.test["successive"].stop.tolist() == [4, 5, 8, 9]  # entity 2 has no event before its only one
    assert parts.test["last"].stop.tolist() == [5, 9]
    # of the eight times below 8 the one at 0.7 * 7 is 2
    assert parts.train_stop.tolist() == [2, 6, 10, 13] and parts.validation.stop.tolist() == [3, 7]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=3, max_size=12), st.integers(0, 999), st.sampled_from([0.5, 0.8, 0.9]))
def test_no_event_has_two_parts(lengths, seed, quantile):
    log = histories(lengths, seed=seed)
    for by in ("temporal", "leave-one-out", "none"):
        try:
            parts = NextSplit(by, quantile).divide(log)
        except DataError:
            continue
        begin, end = log.offsets[:-1], log.offsets[1:]
        assert (parts.train_stop >= begin).all() and (parts.train_stop <= end).all()
        asked = [parts.validation, *parts.test.values()]
        for positions in asked:
            assert (positions.stop >= parts.train_stop[positions.row]).all()
            assert (positions.stop > begin[positions.row]).all() and (positions.stop < end[positions.row]).all()
        for positions in parts.test.values():
            assert not set(positions.stop.tolist()) & set(parts.validation.stop.tolist())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=3, max_size=12), st.integers(0, 999))
def test_a_temporal_model_trains_and_chooses_on_nothing_at_or_after_the_cut(lengths, seed):
    log = histories(lengths, seed=seed)
    try:
        parts = NextSplit("temporal", 0.7).divide(log)
    except DataError:
        return
    trains = np.arange(len(log.time_us)) < np.repeat(parts.train_stop, log.lengths)
    assert (log.time_us[trains] < log.time_us[parts.validation.stop].min()).all()
    assert (log.time_us[parts.validation.stop] < parts.cut_us).all()
    assert (log.time_us[parts.test["successive"].stop] >= parts.cut_us).all()
    assert set(parts.test["last"].stop) <= set(parts.test["successive"].stop)
    later = np.flatnonzero(log.time_us >= parts.cut_us)
    assert set(later) - set(log.offsets[:-1]) == set(parts.test["successive"].stop)  # every one with a past


def test_without_a_test_part_some_entities_choose():
    log = histories([9] * 40 + [2] * 5)
    parts = NextSplit("none", seed=1).divide(log)
    assert parts.test == {} and len(parts.validation) == 4
    held = np.zeros(45, dtype=int)
    held[parts.validation.row] = 1
    assert (log.offsets[1:] - parts.train_stop == held).all() and held[40:].sum() == 0
    assert NextSplit("none", seed=1).divide(log).validation.row.tolist() == parts.validation.row.tolist()
    assert NextSplit("none", seed=2).divide(log).validation.row.tolist() != parts.validation.row.tolist()


@pytest.mark.parametrize(
    ("split", "lengths", "part"),
    [
        (NextSplit("leave-one-out"), [3, 3], "training"),
        (NextSplit("leave-one-out"), [2, 2, 1], "validation"),
        (NextSplit("none"), [2, 2], "validation"),
        (NextSplit("temporal"), [1] * 20, "training"),
    ],
)
def test_an_empty_part_is_a_sentence(split, lengths, part):
    with pytest.raises(DataError, match=rf"leaves no event to predict for {part}, of .* entities; give longer"):
        split.divide(histories(lengths))


def test_a_log_of_one_moment_is_a_sentence():
    with pytest.raises(DataError, match="leaves no event"):
        NextSplit().divide(histories([5, 5], times=[7] * 10))


def test_options_are_checked_and_said():
    with pytest.raises(ConfigError, match=r"quantile=1\.0"):
        NextSplit(quantile=1.0)
    with pytest.raises(ConfigError, match="temporal"):
        NextSplit("tempral")
    assert "99.5 % quantile" in NextSplit(quantile=0.995).sentence()  # not 100 %
    assert "90 % quantile" in NextSplit().sentence() and "no test part" in NextSplit("none").sentence()
