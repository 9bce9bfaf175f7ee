"""Thresholds against brute force; confusion and report against scikit-learn."""

import json

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ConfigError, DataError
from habitus.metrics import choose_threshold, classification_metrics, classification_report, confusion_matrix

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=3, max_size=25).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


def worth(goal, target, said):
    if goal == "f1":
        return sk.f1_score(target, said, zero_division=0)
    if goal == "accuracy":
        return sk.accuracy_score(target, said)
    if goal == "ks":
        return said[target == 1].mean() - said[target == 0].mean()
    return -(5.0 * ((said == 1) & (target == 0)).sum() + 2.0 * ((said == 0) & (target == 1)).sum())


@pytest.mark.parametrize("goal", ["f1", "accuracy", "ks", "cost"])
@settings(max_examples=15, deadline=None)
@given(rows)
def test_no_other_threshold_is_better(goal, pairs):
    target, tenths = (np.array(column) for column in zip(*pairs, strict=True))
    probability = tenths / 10
    costs = {"false_positive_cost": 5.0, "false_negative_cost": 2.0}
    chosen = choose_threshold(target, probability, goal, **costs)
    others = [worth(goal, target, probability >= t) for t in np.linspace(0, 1.05, 22)]
    assert worth(goal, target, probability >= chosen) == pytest.approx(max(others))


def test_each_mistake_has_its_own_cost():
    target, probability = [0, 1, 0, 1, 0, 1], [0.1, 0.3, 0.4, 0.6, 0.7, 0.9]
    assert choose_threshold(target, probability, "cost", false_positive_cost=10) == 0.9
    assert choose_threshold(target, probability, "cost", false_negative_cost=10) == 0.3


def test_thresholds_need_both_classes_and_a_known_goal():
    with pytest.raises(DataError, match="both classes"):
        choose_threshold([1, 1], [0.1, 0.2])
    with pytest.raises(ConfigError, match="did you mean 'cost'"):
        choose_threshold([0, 1], [0.1, 0.2], "costs")  # type: ignore[arg-type]


def test_confusion_equals_scikit_learn():
    random = np.random.default_rng(0)
    target, said = random.integers(0, 4, 100), random.integers(0, 3, 100)
    theirs = sk.confusion_matrix(target, said, labels=range(4))
    assert (confusion_matrix(target, said, 4) == theirs).all()
    assert (confusion_matrix(said, target, 4) != theirs).any()
    with pytest.raises(DataError, match="prediction holds"):
        confusion_matrix([0, 1], [0, 2])
    with pytest.raises(DataError, match="one length"):
        confusion_matrix([0, 1], [0])


def test_the_report_equals_scikit_learn_class_by_class():
    random = np.random.default_rng(1)
    probability = random.dirichlet(np.ones(3), 200)
    target = np.array([random.choice(3, p=line) for line in probability])
    report = classification_report(target, probability, n_classes=3, names=["a", "b", "c"])
    said = probability.argmax(axis=1)
    theirs = sk.classification_report(target, said, output_dict=True, target_names=["a", "b", "c"])
    for c, row in enumerate(report):
        assert row.n == theirs[row.name]["support"] and row.n_predicted == (said == c).sum()
        for ours, key in ((row.precision, "precision"), (row.recall, "recall"), (row.f1, "f1-score")):
            assert ours.value == pytest.approx(theirs[row.name][key], abs=1e-12)
            assert ours.low < ours.value < ours.high
        assert row.auc.value == pytest.approx(sk.roc_auc_score(target == c, probability[:, c]))
    json.dumps([row.to_json() for row in report], allow_nan=False)


def test_the_report_of_two_classes_agrees_with_the_metrics():
    random = np.random.default_rng(2)
    probability = random.random(300)
    target = (random.random(300) < probability).astype(int)
    negative, positive = classification_report(target, probability, threshold=0.4)
    found = classification_metrics(target, probability, threshold=0.4)
    assert (positive.recall, positive.precision) == (found["recall"], found["precision"])
    for end in ("value", "low", "high"):
        assert getattr(positive.auc, end) == pytest.approx(getattr(found["auc"], end), abs=1e-12)
    assert negative.auc.value == pytest.approx(positive.auc.value)
    # the multinomial shortcut is the row bootstrap in law
    assert positive.f1.high - positive.f1.low == pytest.approx(found["f1"].high - found["f1"].low, rel=0.2)


def test_a_class_never_seen_or_never_said():
    report = classification_report([0, 0, 1], [[0.8, 0.1, 0.1]] * 3, n_classes=3)
    assert report[1].precision.value == 0 and report[1].recall.value == 0
    assert not report[2].precision.is_defined and not report[2].recall.is_defined and not report[2].f1.is_defined
    with pytest.raises(ConfigError, match="one per class"):
        classification_report([0, 1], [0.1, 0.2], names=["a", "b", "c"])
