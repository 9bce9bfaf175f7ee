"""Rivals of numbers: the constant is the average, the line is scikit-learn's, quantiles ascend, nothing is lost."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from habitus.baselines import BagFeatures
from habitus.baselines.regress import NUMBER_BASELINES, Aim, BagLightGBMNumbers, BagRidge, Constant, mean_factor
from habitus.baselines.regress.ridge import choose_ridge
from habitus.data.encode import EncodedSequences
from habitus.errors import DataError

SIZES = {"item": 9, "region": 5}
LEVELS = (0.1, 0.5, 0.9)


def make(n, seed=0, noise=0.5):
    """Rows whose target is three times the total of `size`, and 5 more in region 2; row 0 has no events."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, n)
    lengths[:1] = 0
    total = int(lengths.sum())
    row = np.repeat(np.arange(n), lengths)
    size, region = rng.exponential(size=total), rng.integers(1, 5, n)
    target = 3 * np.bincount(row, weights=size, minlength=n) + 5 * (region == 2) + noise * rng.random(n)
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids={"item": rng.integers(1, 9, total).astype(np.int32)},
        numbers={"size": np.stack([size, np.zeros(total)], axis=1).astype(np.float32)},
        age_days=np.ones(total, np.float32),
        gap_days=np.zeros(total, np.float32),
        hour=np.zeros(total, np.int8),
        weekday=np.zeros(total, np.int8),
        profile_ids={"region": region.astype(np.int32)},
        profile_numbers={},
        n_events=lengths.astype(np.int64),
        example=np.arange(n),
        target=target,
    )


def aim_of(rows, loss="squared", log=False):
    return Aim.fit(rows.target, loss, LEVELS if loss == "quantile" else (), log=log)


def fitted(name, loss="squared", log=False, n=400):
    train, validation = make(n, 1), make(120, 2)
    return NUMBER_BASELINES[name]().fit(train, validation, SIZES, aim_of(train, loss, log))


def test_registry_names_are_the_baselines_own():
    assert list(NUMBER_BASELINES) == ["constant", "bag + ridge regression", "bag + LightGBM"]


def test_the_constant_is_the_best_one_for_the_loss():
    train = make(50)
    answers = {
        loss: Constant().fit(train, train, SIZES, aim_of(train, loss)).predict(make(3))
        for loss in ("squared", "absolute", "quantile")
    }
    assert answers["squared"] == pytest.approx(np.full((3, 1), train.target.mean()))
    assert answers["absolute"] == pytest.approx(np.full((3, 1), np.median(train.target)))
    assert answers["quantile"] == pytest.approx(np.tile(np.quantile(train.target, LEVELS), (3, 1)))


@pytest.mark.parametrize("name", list(NUMBER_BASELINES)[1:])
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber", "quantile"])
@pytest.mark.parametrize("log", [False, True])
def test_they_learn_what_can_be_counted(name, loss, log):
    test = make(200, 3)
    answer = fitted(name, loss, log).predict(test)
    assert answer.shape == (200, 3 if loss == "quantile" else 1) and np.isfinite(answer).all()
    point = answer[:, 1 if loss == "quantile" else 0]
    constant = test.target.mean() if loss == "squared" else np.median(test.target)
    assert np.abs(point - test.target).mean() < 0.6 * np.abs(constant - test.target).mean()
    assert (np.diff(answer, axis=1) >= 0).all()  # quantiles do not cross


@pytest.mark.parametrize("name", NUMBER_BASELINES)
@pytest.mark.parametrize(("loss", "log"), [("squared", True), ("quantile", False)])
def test_saved_and_restored_it_answers_the_same(name, loss, log):
    baseline, test = fitted(name, loss, log), make(40, 4)
    tensors, document = baseline.to_state()
    again = type(baseline).from_state(tensors, json.loads(json.dumps(document)))
    np.testing.assert_array_equal(again.predict(test), baseline.predict(test))


def test_the_line_is_a_ridge_regression_of_scikit_learn():
    train, validation = make(300, 1), make(100, 2)
    baseline = BagRidge(alphas=[10.0]).fit(train, validation, SIZES, aim_of(train))
    x = baseline.matrix_.of(train).toarray()
    line = Ridge(alpha=10.0).fit(x, train.target)
    expected = line.predict(baseline.matrix_.of(validation).toarray())
    assert baseline.predict(validation)[:, 0] == pytest.approx(expected, rel=1e-2, abs=0.05)


def test_the_strength_is_chosen_on_validation():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 30)), rng.normal(size=60)  # nothing to learn: the strongest penalty is best
    coef, _ = choose_ridge(x, y, rng.normal(size=(200, 30)), rng.normal(size=200), alphas=[1e6, 1.0])
    assert np.abs(coef).max() < 1e-3


def test_totals_make_sums_linear():
    rows = make(30)
    features = BagFeatures.of(rows, SIZES, totals=True)
    names, values = features.aggregates(rows)
    found = dict(zip(names, values.T, strict=True))
    row = np.repeat(np.arange(30), rows.lengths)
    assert found["total size"] == pytest.approx(np.bincount(row, weights=rows.numbers["size"][:, 0], minlength=30))
    assert "total size" not in BagFeatures.of(rows, SIZES).aggregates(rows)[0]
    assert BagFeatures.from_json(features.to_json()) == features


def test_from_logs_to_the_mean():
    """The factor makes the answers' mean that of the targets: by hand, exp of the mean of logs is below it."""
    rng = np.random.default_rng(0)
    y = np.expm1(rng.normal(2, 1, 5000))
    y = np.maximum(y, 0)
    aim = Aim.fit(y, "squared", log=True)
    answer = aim.to_unit(np.zeros((5000, 1)))  # everybody gets the mean of logs
    assert answer.mean() < 0.7 * y.mean()
    assert ((answer + 1) * mean_factor(aim, y, answer) - 1).mean() == pytest.approx(y.mean())
    assert mean_factor(replace(aim, loss="absolute"), y, answer) == 1.0


@pytest.mark.parametrize("log", [False, True])
def test_the_scale_comes_back(log):
    y = np.array([0.0, 1.0, 4.0, 100.0, 3.0])
    for loss in ("squared", "absolute"):
        aim = Aim.fit(y, loss, log=log)
        assert aim.to_unit(aim.to_scale(y)) == pytest.approx(y)
        assert Aim.from_json(json.loads(json.dumps(aim.to_json()))) == aim
    if log:
        assert aim.to_unit(np.array([1e9]))[0] == pytest.approx(100.0) and aim.to_unit(np.array([-1e9]))[0] == 0.0


def test_a_target_that_is_mostly_one_value_has_a_spread():
    assert Aim.fit(np.array([0.0] * 9 + [50.0]), "absolute").spread == pytest.approx(15.0)
    assert Aim.fit(np.zeros(4)).spread == 1.0


@pytest.mark.parametrize("name", NUMBER_BASELINES)
def test_without_validation_or_rows_it_still_works(name):
    train = make(100)
    empty = train.take(np.zeros(0, dtype=np.int64))
    baseline = NUMBER_BASELINES[name]().fit(train, empty, SIZES, aim_of(train, log=True))
    assert np.isfinite(baseline.predict(train)).all() and baseline.predict(empty).shape == (0, 1)


def test_rows_without_a_target_are_refused():
    rows = replace(make(10), target=None)
    with pytest.raises(DataError, match="no target"):
        BagLightGBMNumbers().fit(rows, rows, SIZES, Aim())
