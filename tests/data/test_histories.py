"""Windows over whole histories: every event but a user's first is a target exactly once, whatever the seed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.histories import Histories, Windows, cover, latest

LENGTHS = st.lists(st.integers(0, 23), min_size=0, max_size=8)


def bounds(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return offsets[:-1], offsets[1:]


def targets(windows):
    """Positions that training asks for: all of a window but its first."""
    pairs = zip(windows.start.tolist(), windows.stop.tolist(), strict=True)
    return [position for start, stop in pairs for position in range(start + 1, stop)]


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.one_of(st.none(), st.integers(0, 10**6)))
def test_every_event_but_the_first_is_a_target_exactly_once(lengths, max_length, seed):
    begin, stop = bounds(lengths)
    windows = cover(begin, stop, max_length, None if seed is None else np.random.default_rng(seed))
    expected = [position for a, b in zip(begin, stop, strict=True) for position in range(a + 1, b)]
    assert sorted(targets(windows)) == expected
    assert ((windows.lengths >= 2) & (windows.lengths <= max_length + 1)).all()
    owner = np.searchsorted(stop, windows.start, side="right")
    assert (windows.start >= begin[owner]).all() and (windows.stop <= stop[owner]).all()  # of one entity


def test_windows_share_one_event_and_the_last_is_full_without_a_seed():
    windows = cover(np.array([4]), np.array([15]), max_length=4)
    assert windows.stop[-1] == 15 and windows.lengths.tolist() == [3, 5, 5]
    assert all(a == b + 1 for a, b in pairwise([*windows.stop.tolist()[:1], *windows.start.tolist()[1:2]]))
    assert (windows.start[1:] == windows.stop[:-1] - 1).all()


def test_cuts_move_from_epoch_to_epoch_and_repeat_with_the_seed():
    cuts = [
        cover(np.array([0]), np.array([60]), 10, np.random.default_rng([0, epoch])).start.tolist()
        for epoch in (0, 1, 0)
    ]
    assert cuts[0] == cuts[2] != cuts[1]


def test_the_latest_events_do_not_reach_before_the_history():
    windows = latest(np.array([0, 7, 7]), np.array([5, 9, 7]), max_length=3)
    assert windows.start.tolist() == [2, 7, 7] and windows.lengths.tolist() == [3, 2, 0]


@pytest.mark.parametrize("n", [0, 3])
def test_windows_and_histories_know_their_number(n):
    windows = Windows(np.arange(n), np.arange(n) + 2)
    assert len(windows) == n and len(windows.take(np.arange(n)[:1])) == min(n, 1)
    histories = Histories(np.arange(n + 1), {}, {}, np.arange(n))
    assert len(histories) == n and histories.lengths.tolist() == [1] * n
