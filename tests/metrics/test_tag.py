"""Metrics of tags against scikit-learn and seqeval; intervals over whole sequences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score

from habitus.metrics.tag import (
    binary_statistic,
    differences,
    entities,
    entity_statistic,
    intervals,
    label_statistic,
    value_of,
)

NAMES = ("B-x", "B-y", "I-x", "I-y", "O")


def test_two_labels_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    unit = np.sort(rng.integers(0, 30, 400))
    probability = rng.random(400).round(2)  # with ties
    truth = rng.random(400) < 0.3 + 0.4 * probability
    found = {name: one.value for name, one in intervals(binary_statistic(truth, probability, unit), 30).items()}
    assert found["auc"] == pytest.approx(roc_auc_score(truth, probability))
    assert found["pr_auc"] == pytest.approx(average_precision_score(truth, probability))
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    assert found["log_loss"] == pytest.approx(log_loss(truth, clipped), rel=1e-3)
    assert found["accuracy"] == pytest.approx(((probability >= 0.5) == truth).mean())


def test_weights_of_sequences_are_copies_of_them():
    rng = np.random.default_rng(1)
    unit, truth, probability = np.repeat([0, 1, 2], 5), rng.random(15) < 0.5, rng.random(15)
    weights = np.array([2, 0, 1])
    copied = np.concatenate([np.flatnonzero(unit == u) for u in (0, 0, 2)])
    found = binary_statistic(truth, probability, unit)(weights[None].astype(float))
    assert found["auc"][0] == pytest.approx(roc_auc_score(truth[copied], probability[copied]))


def test_several_labels_agree_with_scikit_learn():
    rng = np.random.default_rng(2)
    truth, predicted, unit = rng.integers(0, 4, 200), rng.integers(1, 6, 200), np.sort(rng.integers(0, 20, 200))
    statistic = label_statistic(truth, predicted, unit, 20)
    expected = f1_score(truth, predicted, average="macro", zero_division=0)
    assert value_of(statistic, "macro_f1", 20) == pytest.approx(expected)
    assert value_of(statistic, "accuracy", 20) == pytest.approx((truth == predicted).mean())


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8), min_size=1, max_size=5)
)
def test_entities_agree_with_seqeval(sentences):
    seqeval = pytest.importorskip("seqeval.metrics")
    truth, predicted = ([[NAMES[pair[side]] for pair in one] for one in sentences] for side in (0, 1))
    unit = np.repeat(np.arange(len(sentences)), [len(one) for one in sentences])
    flat = np.array([pair for one in sentences for pair in one])
    statistic = entity_statistic(NAMES, flat[:, 0], flat[:, 1], unit, len(sentences))
    expected = {
        "precision": seqeval.precision_score(truth, predicted, zero_division=0),
        "f1": seqeval.f1_score(truth, predicted, zero_division=0),
        "accuracy": seqeval.accuracy_score(truth, predicted),
    }
    for name, value in expected.items():
        assert value_of(statistic, name, len(sentences)) == pytest.approx(value), name
    recall = value_of(statistic, "recall", len(sentences))
    assert np.isnan(recall) or recall == pytest.approx(seqeval.recall_score(truth, predicted, zero_division=0))


def test_an_entity_ends_with_its_sentence():
    first, kind, last = entities(NAMES, np.array([0, 2, 2, 4]), np.array([0, 0, 1, 1]))
    assert first.tolist() == [0, 2] and last.tolist() == [1, 2] and kind.tolist() == [0, 0]


def test_events_of_one_sequence_are_not_independent():
    """Ten copies of every event in its sequence say nothing new: the interval stays as wide."""
    rng = np.random.default_rng(3)
    unit, right = np.repeat(np.arange(40), 3), rng.integers(0, 2, 120)
    once = intervals(label_statistic(right, np.ones(120, int), unit, 40), 40)["accuracy"]
    copied = label_statistic(np.repeat(right, 10), np.ones(1200, int), np.repeat(unit, 10), 40)
    assert intervals(copied, 40)["accuracy"] == once and once.low < once.value < once.high


def test_a_difference_is_paired():
    rng = np.random.default_rng(4)
    truth, unit = rng.integers(0, 3, 300), np.sort(rng.integers(0, 30, 300))
    one = np.where(rng.random(300) < 0.7, truth, 0)
    statistic, worse = (label_statistic(truth, given, unit, 30) for given in (one, np.zeros(300, int)))
    found = differences(statistic, worse, 30)["accuracy"]
    values = [value_of(of, "accuracy", 30) for of in (statistic, worse)]
    assert found.value == pytest.approx(values[0] - values[1]) and found.low > 0
    same = differences(statistic, statistic, 30)["macro_f1"]
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_a_flawless_result_is_not_certain():
    codes = np.array([0, 2, 4, 1])
    found = intervals(entity_statistic(NAMES, codes, codes, np.arange(4), 4), 4)
    assert found["f1"].value == 1 and found["f1"].low < 0.7
