"""Maps equal scikit-learn's, rise, travel through JSON and help where help is needed."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from habitus.errors import BundleError, ConfigError, DataError
from habitus.metrics import Calibration, classification_metrics, fit_calibration
from habitus.metrics.calibration import logit, sigmoid, softmax

GRID = np.linspace(0, 1, 201)


def overconfident(n=600, seed=0):
    random = np.random.default_rng(seed)
    honest = random.random(n)
    target = (random.random(n) < honest).astype(int)
    return target, sigmoid(2.5 * logit(honest) + 0.5)


def test_platt_equals_scikit_learns_sigmoid_calibration():
    target, probability = overconfident()
    # a frozen classifier whose decision function is the logit of the probability
    scores = logit(probability)[:, None]
    frozen = LogisticRegression().fit(scores, target)
    frozen.coef_, frozen.intercept_ = np.array([[1.0]]), np.array([0.0])
    theirs = CalibratedClassifierCV(FrozenEstimator(frozen), method="sigmoid", ensemble=False).fit(scores, target)
    expected = theirs.predict_proba(logit(GRID)[:, None])[:, 1]
    assert fit_calibration(target, probability, "platt").apply(GRID) == pytest.approx(expected, abs=1e-4)
    assert np.abs(GRID - expected).max() > 0.05  # the bite: the identity is far off


def test_platt_stays_finite_on_separable_rows():
    found = fit_calibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "platt")
    assert 0 < found.parameters["slope"] < 10
    assert 0.1 < found.apply([0.1])[0] < 0.5 < found.apply([0.9])[0] < 0.9


def test_isotonic_equals_scikit_learn_bit_for_bit():
    target, probability = overconfident()
    edge = 1 / 602
    theirs = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(probability, target)
    found = fit_calibration(target, probability, "isotonic")
    for points in (GRID, probability):
        assert np.abs(found.apply(points) - theirs.predict(points)).max() <= 1e-15
    assert found.apply([0.0])[0] > 0 and found.apply([1.0])[0] < 1  # the log-loss stays finite


@pytest.mark.parametrize("kind", ["none", "platt", "isotonic", "temperature"])
def test_maps_rise_stay_within_0_and_1_and_travel_through_json(kind):
    found = fit_calibration(*overconfident(), kind)
    mapped = found.apply(GRID)
    assert (np.diff(mapped) >= 0).all() and mapped[0] < mapped[-1]
    assert mapped.min() >= 0 and mapped.max() <= 1
    back = Calibration.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert (back.apply(GRID) == mapped).all() and back == found


@pytest.mark.parametrize("kind", ["platt", "isotonic", "temperature"])
def test_calibration_helps_on_fresh_rows(kind):
    fresh, said = overconfident(2000, seed=9)
    before = classification_metrics(fresh, said, n_bootstrap=0)
    after = classification_metrics(fresh, fit_calibration(*overconfident(), kind).apply(said), n_bootstrap=0)
    assert after["log_loss"].value < before["log_loss"].value - 0.05
    assert after["calibration_error"].value < before["calibration_error"].value / 1.5
    assert after["auc"].value == pytest.approx(before["auc"].value, abs=0.01)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_model_that_ranks_backwards_gets_a_constant(kind):
    target, probability = overconfident()
    mapped = fit_calibration(target, 1 - probability, kind).apply(np.array([0.2, 0.5, 0.8]))
    assert np.ptp(mapped) < 1e-12 and mapped[0] == pytest.approx(target.mean(), abs=0.01)


def test_temperature_has_the_least_log_loss_and_keeps_the_likeliest_class():
    random = np.random.default_rng(0)
    logits = random.normal(size=(500, 4))
    target = np.array([random.choice(4, p=line) for line in softmax(logits)])
    sharp = softmax(3 * logits)
    found = fit_calibration(target, sharp, "temperature")

    def loss(log_temperature):
        return -np.log(softmax(np.log(sharp) / np.exp(log_temperature))[np.arange(500), target]).mean()

    best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    assert found.parameters["temperature"] == pytest.approx(best, rel=1e-4)
    assert 2.3 < best < 3.9  # the logits were multiplied by 3
    mapped = found.apply(sharp)
    assert (mapped.argmax(axis=1) == sharp.argmax(axis=1)).all() and mapped.sum(axis=1) == pytest.approx(np.ones(500))


def test_temperature_of_two_classes_is_the_same_as_one_column_or_two():
    target, probability = overconfident()
    one, two = (
        fit_calibration(target, p, "temperature") for p in (probability, np.stack([1 - probability, probability], 1))
    )
    assert one == two
    pairs = np.stack([1 - GRID, GRID], axis=1)
    assert two.apply(pairs)[:, 1] == pytest.approx(one.apply(GRID), abs=1e-9)


def test_what_cannot_be_fitted_gets_a_sentence():
    with pytest.raises(DataError, match="at least two classes"):
        fit_calibration([1, 1], [0.1, 0.2])
    with pytest.raises(ConfigError, match="did you mean 'isotonic'"):
        fit_calibration([0, 1], [0.1, 0.2], "isotone")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="use 'temperature'"):
        fit_calibration([0, 1], np.full((2, 3), 1 / 3), "platt")
    with pytest.raises(DataError, match="NaN"):
        fit_calibration([0, 1], [0.1, np.nan])


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "spline", "parameters": {}},
        {"kind": "platt", "parameters": {"slope": 1.0}},
        {"kind": "platt", "parameters": {"slope": -1.0, "intercept": 0.0}},
        {"kind": "platt", "parameters": {"slope": "much", "intercept": 0.0}},
        {"kind": "platt", "parameters": {"slope": [1.0, 2.0], "intercept": 0.0}},
        {"kind": "platt", "parameters": {"slope": float("nan"), "intercept": 0.0}},
        {"kind": "temperature", "parameters": {"temperature": 0.0}},
        {"kind": "isotonic", "parameters": {"from": [0.1, 0.2], "to": [0.5, 0.4]}},
        {"kind": "isotonic", "parameters": {"from": [0.1, 0.2], "to": [0.5]}},
        {"kind": "isotonic", "parameters": {"from": [], "to": []}},
        {"kind": "isotonic", "parameters": {"from": [0.1, 0.2], "to": [0.5, 1.5]}},
        {"kind": ["platt"], "parameters": {}},
    ],
)
def test_damaged_calibrations_are_refused(data):
    with pytest.raises(BundleError):
        Calibration.from_json(data)
