"""Rivals of tags: their features by a loop, their answers after saving, and what they may not read."""

import numpy as np
import pytest

from habitus.baselines.tag import TAG_BASELINES, FrequentTag, RunningRates, WindowLogistic
from habitus.baselines.tag.running import before
from habitus.data.histories import Histories
from habitus.data.slices import offsets_of
from habitus.data.tags.tagged import Tagged


def make(n_units=60, n_labels=2, seed=0):
    """Events whose label leans on their item and on their entity."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, n_units)
    n = int(lengths.sum())
    item = rng.integers(0, 6, n)
    able = np.repeat(rng.normal(size=n_units), lengths)
    if n_labels == 2:
        labels = (item - 2.5 + 1.5 * able + rng.normal(size=n) > 0).astype(np.int32)
    else:
        labels = np.where(rng.random(n) < 0.8, item % n_labels, 0).astype(np.int32)
    labels[rng.random(n) < 0.1] = -1
    ids = {"item": (item + 3).astype(np.int32), "noise": rng.integers(3, 9, n).astype(np.int32)}
    numbers = {"x": np.stack([rng.normal(size=n), np.zeros(n)], axis=1).astype(np.float32)}
    histories = Histories(offsets_of(lengths), ids, numbers, np.arange(n))
    return Tagged(histories, labels, tuple("abcd"[:n_labels]), n_labels)


def test_what_came_before_is_counted_within_groups():
    rng = np.random.default_rng(0)
    group, known = rng.integers(0, 4, 50), rng.random(50) < 0.8
    positive = (rng.random(50) < 0.5) & known
    found = before(group, known.astype(float), positive.astype(float))
    for i in range(50):
        earlier = [j for j in range(i) if group[j] == group[i]]
        assert found[0][i] == sum(known[j] for j in earlier) and found[1][i] == sum(positive[j] for j in earlier)
        last = 0 if not earlier or not known[earlier[-1]] else 2 * int(positive[earlier[-1]]) - 1
        assert found[2][i] == last


@pytest.mark.parametrize(
    ("rival", "n_labels"),
    [
        (RunningRates(True), 2), (RunningRates(False), 2), (FrequentTag(), 3),
        (WindowLogistic(True, False), 3), (WindowLogistic(False, True), 2),
    ],
)  # fmt: skip
def test_a_rival_answers_and_answers_the_same_after_saving(rival, n_labels):
    train, validation, test = (make(seed=seed, n_labels=n_labels) for seed in (0, 1, 2))
    answer = rival.fit(train, validation).answer(test)
    assert answer.probability.shape == (len(test.labels), n_labels)
    assert np.allclose(answer.probability.sum(1), 1, atol=1e-5) and answer.probability.min() >= 0
    judged = test.labels >= 0
    commonest = np.bincount(train.labels[train.labels >= 0]).argmax()
    accuracy = (answer.codes == test.labels)[judged].mean()
    assert accuracy > (test.labels == commonest)[judged].mean()
    again = TAG_BASELINES[rival.name].from_state(*rival.to_state()).answer(test)
    assert (again.codes == answer.codes).all() and (again.probability == answer.probability).all()


def changed(rows, at, label):
    labels = rows.labels.copy()
    labels[at] = label
    return Tagged(rows.histories, labels, rows.names, rows.n_known)


@pytest.mark.parametrize("rival", [RunningRates(True), WindowLogistic(False, True)])
def test_a_label_is_never_read_for_its_own_event(rival):
    rows = make()
    rival.fit(rows, make(seed=1))
    at = int(rows.histories.offsets[10])
    one, other = (rival.answer(changed(rows, at, label)).probability[:, 1] for label in (0, 1))
    differs = np.flatnonzero(one != other)
    assert (differs > at).all() and (rows.unit[differs] == 10).all()


def test_without_history_no_label_is_read():
    rows = make()
    rival = RunningRates(False).fit(rows, make(seed=1))
    blind = Tagged(rows.histories, np.full_like(rows.labels, -1), rows.names, rows.n_known)
    assert (rival.answer(rows).probability == rival.answer(blind).probability).all()


def test_the_window_looks_ahead_only_where_it_may():
    rows, at = make(n_labels=3), 5
    ids = {name: values.copy() for name, values in rows.histories.ids.items()}
    ids["item"][at] = 3 + (ids["item"][at] - 2) % 6
    other = Tagged(Histories(rows.histories.offsets, ids, rows.histories.numbers, rows.histories.time_us), *(
        rows.labels, rows.names, rows.n_known))  # fmt: skip
    for look_ahead in (False, True):
        rival = WindowLogistic(look_ahead).fit(rows, rows)
        differs = np.flatnonzero((rival.answer(rows).probability != rival.answer(other).probability).any(axis=1))
        assert set(differs) <= {at - 1, at, at + 1} and (at - 1 in differs) == look_ahead


def test_an_unknown_value_takes_the_shares_of_all_events():
    rows = make(n_labels=3)
    rival = FrequentTag().fit(rows, make(seed=1, n_labels=3))
    assert rival.field_ == "item"
    ids = {name: np.full_like(values, 1) for name, values in rows.histories.ids.items()}
    blind = Tagged(Histories(rows.histories.offsets, ids, {}, rows.histories.time_us), rows.labels, rows.names, 3)
    shares = np.bincount(rows.labels[rows.labels >= 0]) / (rows.labels >= 0).sum()
    assert np.allclose(rival.answer(blind).probability, shares)


def test_a_log_without_fields_can_be_judged():
    bare = Tagged(Histories(np.array([0, 3, 6]), {}, {}, np.arange(6)), np.array([0, 1, 1, 1, 0, 1]), ("a", "b"), 2)
    for rival in (RunningRates(True), FrequentTag(), WindowLogistic()):
        assert len(rival.fit(bare, bare).answer(bare).codes) == 6
