"""Windows tag every event once; a label is never among what is read of its own event."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.data.histories import Histories
from habitus.data.slices import offsets_of
from habitus.data.tags.tagged import Tagged, Tags, label_history_sizes, tag_windows, with_label_history


def rows(lengths=(3, 2), labels=(1, 0, -1, 1, 1), n_known=2):
    n = sum(lengths)
    ids = {"skill": np.arange(3, 3 + n, dtype=np.int32)}
    histories = Histories(offsets_of(np.array(lengths)), ids, {}, np.arange(n))
    return Tagged(histories, np.array(labels, dtype=np.int32), ("no", "yes"), n_known)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 12), st.booleans())
def test_windows_tag_every_event_exactly_once(lengths, max_length, both):
    offsets = offsets_of(np.array(lengths))
    windows = tag_windows(offsets, max_length, both=both)
    tagged = [p for a, b in zip(windows.first, windows.last, strict=True) for p in range(a, b)]
    assert tagged == list(range(offsets[-1]))
    assert (windows.start <= windows.first).all() and (windows.last <= windows.stop).all()
    assert (windows.lengths <= max_length).all() and (windows.lengths > 0).all()
    owner = np.searchsorted(offsets, windows.start, side="right")
    assert (owner == np.searchsorted(offsets, windows.stop - 1, side="right")).all()  # of one entity


@pytest.mark.parametrize("both", [False, True])
def test_every_event_of_a_long_history_has_company(both):
    windows = tag_windows(np.array([0, 1000]), max_length=100, both=both)
    before = windows.first - windows.start
    assert (before[1:] >= (25 if both else 50)).all()
    after = windows.stop - windows.last
    assert (after[windows.stop < 1000] == (25 if both else 0)).all()


def test_the_label_history_is_that_of_the_event_before():
    found = with_label_history(rows())
    assert found.ids["previous label"].tolist() == [2, 4, 3, 2, 4]  # 2: nothing is known
    skill, label = np.divmod(found.ids["previous skill with its label"], 3)
    assert skill.tolist() == [2, 3, 4, 2, 6] and label.tolist() == [0, 2, 1, 0, 2]
    assert found.ids["skill"].tolist() == rows().histories.ids["skill"].tolist()


def test_a_label_changes_only_what_is_read_of_the_next_event():
    changed = rows(labels=(1, 1, -1, 1, 1))
    one, other = with_label_history(rows()), with_label_history(changed)
    for name in one.ids:
        assert np.flatnonzero(one.ids[name] != other.ids[name]).tolist() in ([], [2])


def test_a_label_that_training_never_saw_is_read_as_unknown():
    assert with_label_history(rows(labels=(7, 0, 0, 0, 0))).ids["previous label"][1] == 2


def test_ids_of_the_label_history_fit_their_sizes():
    found = with_label_history(rows())
    sizes = label_history_sizes({"skill": 8}, 2)
    assert all(found.ids[name].max() < size for name, size in sizes.items())
    assert "previous many with its label" not in label_history_sizes({"many": 10**6}, 2)


def test_some_entities_keep_their_events_and_labels():
    some = rows().take(np.array([1, 0]))
    assert some.labels.tolist() == [1, 1, 1, 0, -1] and some.histories.offsets.tolist() == [0, 2, 5]
    assert some.unit.tolist() == [0, 0, 1, 1, 1] and some.n_labelled == 4


def test_the_likeliest_label_is_the_tag():
    answer = Tags.likeliest(np.array([[0.6, 0.4], [0.1, 0.9]]))
    assert answer.codes.tolist() == [0, 1] and answer.probability.dtype == np.float32
