"""Classify: losses and weights are those of torch and scikit-learn; what training did not know is refused."""

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from habitus.errors import ConfigError, DataError
from habitus.tasks import Classify

LABELS = ("late", "fraud", "gone")


def fitted(values, **options):
    task = Classify("risk", **options)
    task.fit_target(pl.DataFrame({"risk": values}))
    return task


def flags(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {name: (rng.random(n) < share).astype(int) for name, share in zip(LABELS, (0.2, 0.5, 0.7), strict=True)}
    )


def outputs_of(n, c, seed=0):
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("classes", [2, 5])
def test_the_loss_is_the_cross_entropy_of_torch_and_scikit_learn(classes):
    values = [row % classes for row in range(30)]
    task = fitted(values)
    target, outputs = torch.from_numpy(task.encode_target(pl.DataFrame({"risk": values}))), outputs_of(30, classes)
    losses = task.loss(outputs, target)
    torch.testing.assert_close(losses, F.cross_entropy(outputs, target, reduction="none"))
    expected = log_loss(values, task.decode(outputs.numpy()), labels=range(classes))
    assert losses.mean().item() == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_those_of_scikit_learn_and_weigh_the_loss():
    values = [0] * 20 + [1] * 7 + [2] * 3
    task = fitted(values, class_weight="balanced")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=values)
    np.testing.assert_allclose(task.weights_, expected)
    outputs, target = outputs_of(30, 3), torch.tensor(values)
    weighted = F.cross_entropy(outputs, target, weight=torch.tensor(expected, dtype=torch.float32), reduction="none")
    torch.testing.assert_close(task.loss(outputs, target), weighted)
    assert not torch.allclose(fitted(values).loss(outputs, target), weighted)


@pytest.mark.parametrize("weights", [{"0": 1.0, "1": 5.0}, {0: 1.0, 1: 5.0}], ids=["text keys", "number keys"])
def test_given_weights_are_used(weights):
    assert fitted([0, 1, 0], class_weight=weights).weights_ == [1.0, 5.0]


def test_a_class_without_a_weight_is_refused():
    with pytest.raises(ConfigError, match=r"no weight for \['1'\]"):
        fitted([0, 1, 0], class_weight={"0": 1.0})
    with pytest.raises(ConfigError, match="use 'balanced'"):
        Classify("risk", class_weight="balance")


def multi_label(**options):
    task = Classify(LABELS, **options)
    task.fit_target(flags())
    return task


def test_several_labels_take_the_binary_loss_of_torch():
    task, outputs = multi_label(), outputs_of(40, 3)
    target = torch.from_numpy(task.encode_target(flags()))
    expected = F.binary_cross_entropy_with_logits(outputs, target, reduction="none").mean(-1)
    torch.testing.assert_close(task.loss(outputs, target), expected)
    np.testing.assert_allclose(task.decode(outputs.numpy()), outputs.double().sigmoid(), rtol=1e-6)


def test_balanced_labels_weigh_positives_by_their_rarity():
    task, counts = multi_label(class_weight="balanced"), flags().sum().row(0)
    np.testing.assert_allclose(task.weights_, [(40 - n) / n for n in counts])


def test_given_weights_of_labels_are_used():
    assert multi_label(class_weight={"late": 2.0, "fraud": 3.0, "gone": 1.0}).weights_ == [2.0, 3.0, 1.0]


def test_probabilities_sum_to_one_and_extremes_do_not_overflow():
    answer = fitted([0, 1, 2]).decode(np.array([[1e4, 0, 0], [-1e4, -1e4, 0], [1, 2, 3]], dtype=np.float32))
    np.testing.assert_allclose(answer.sum(1), 1)
    assert np.isfinite(answer).all() and answer.dtype == np.float64
    with np.errstate(over="raise"):
        flags_answer = multi_label().decode(np.array([[1e4, 0, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(flags_answer, [[1, 0.5, 0]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 0, 1], ["0", "1"]),
        ([1, -1], ["-1", "1"]),
        ([True, False], ["false", "true"]),
        ([0.0, 1.0], ["0", "1"]),
        (["yes", "no"], ["no", "yes"]),
        (["good", "bad"], ["bad", "good"]),
        ([10, 9, 2], ["2", "9", "10"]),
        (["b", "10", "9"], ["9", "10", "b"]),
        (["yes", "zero"], ["zero", "yes"]),  # "yes" is positive by its name, as the docstring says
        (["true", "wrong"], ["wrong", "true"]),
    ],
)
def test_classes_have_an_order_and_two_have_a_positive_one(values, expected):
    assert fitted(values).classes_ == expected


@pytest.mark.parametrize("positive", ["bad", "good"])
def test_the_positive_class_can_be_chosen(positive):
    task = fitted(["good", "bad", "good"], positive=positive)
    assert task.classes_[1] == positive
    assert task.scored(np.array([[0.2, 0.8]])).tolist() == [0.8]


def test_the_positive_class_can_be_given_as_it_stands_in_the_table():
    assert fitted([0, 1, 1], positive=0).classes_ == ["1", "0"]


def test_an_absent_positive_class_is_refused():
    with pytest.raises(ConfigError, match=r"positive='worse' is none of the classes"):
        fitted(["good", "bad"], positive="worse")


def test_an_unknown_class_is_refused_by_name():
    with pytest.raises(DataError, match=r"'risk' holds '7', which is none of the classes of training \(0, 1\)"):
        fitted([0, 1]).encode_target(pl.DataFrame({"risk": [0, 7]}))


@pytest.mark.parametrize("values", [[1, 1, 1], list(range(1001))])
def test_too_few_or_too_many_classes_are_refused(values):
    with pytest.raises(DataError, match="Classify needs 2 to 1000"):
        fitted(values)


@pytest.mark.parametrize("value", [2, None, "x"])
def test_labels_other_than_0_and_1_are_refused(value):
    table = flags().with_columns(pl.Series("fraud", [value] * 40))
    with pytest.raises(DataError, match="'fraud' must hold 0 and 1 only"):
        Classify(LABELS).encode_target(table)


def test_the_monitored_metric_is_the_auc_of_scikit_learn():
    rng = np.random.default_rng(0)
    target, answer = rng.integers(0, 2, 50), rng.random((50, 2))
    task = fitted([0, 1])
    assert task.monitor_value(target, answer) == pytest.approx(roc_auc_score(target, answer[:, 1]))
    target, answer = np.arange(60) % 3, rng.dirichlet([1, 1, 1], 60)
    expected = roc_auc_score(target, answer, multi_class="ovr", average="macro")
    assert fitted([0, 1, 2]).monitor_value(target, answer) == pytest.approx(expected)


@pytest.mark.parametrize("task", [fitted(["good", "bad"], positive="bad"), multi_label(class_weight="balanced")])
def test_a_task_survives_the_bundle(task):
    again = Classify.from_json(task.to_json())
    assert again.to_json() == task.to_json()
    assert (again.classes_, again.weights_, again.target) == (task.classes_, task.weights_, task.target)


def test_the_head_starts_without_an_opinion():
    task = fitted([0, 1])
    outputs = task.build_head(6).eval()(torch.randn(4, 6))
    assert torch.equal(outputs, outputs[:1].expand(4, 2))
