"""The counting baselines: the counts are the counts, nothing is lost in a file, and they find what can be counted."""

import json
import sys
from collections import Counter

import numpy as np
import pytest

from habitus.baselines import BASELINES, BagFeatures, BagLightGBM, BagLogistic, MostFrequent
from habitus.data.encode import EncodedSequences
from habitus.errors import DataError, MissingExtraError

SIZES = {"item_id": 90, "kind": 6, "region": 5}
SHAPES = [(2, False), (3, False), (3, True)]


def make(n: int, seed: int = 0, n_classes: int = 2, multi_label: bool = False) -> EncodedSequences:
    """Rows whose class is told by `kind`; row 0 has no events."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, n)
    lengths[:1] = 0
    offsets, total = np.concatenate([[0], np.cumsum(lengths)]), int(lengths.sum())
    row = np.repeat(np.arange(n), lengths)
    classes = rng.integers(0, n_classes, n)
    kind = np.where(rng.random(total) < 0.6, 3 + classes[row], rng.integers(3, 6, total))
    age = rng.exponential(30, total)
    age = age[np.lexsort((-age, row))]
    gap = np.append(0, age[:-1] - age[1:])
    gap[offsets[:-1][lengths > 0]] = 0
    missing = rng.random(total) < 0.1
    return EncodedSequences(
        offsets=offsets,
        ids={"item_id": rng.integers(1, 90, total).astype(np.int32), "kind": kind.astype(np.int32)},
        numbers={"size": np.stack([np.where(missing, 0, rng.normal(size=total)), missing], axis=1).astype(np.float32)},
        age_days=age.astype(np.float32),
        gap_days=gap.astype(np.float32),
        hour=rng.integers(0, 24, total).astype(np.int8),
        weekday=rng.integers(0, 7, total).astype(np.int8),
        profile_ids={"region": rng.integers(1, 5, n).astype(np.int32)},
        profile_numbers={"score": rng.normal(size=(n, 2)).astype(np.float32)},
        n_events=lengths.astype(np.int64),
        example=np.arange(n),
        target=np.eye(n_classes, dtype=np.float32)[classes] if multi_label else classes,
    )


def fitted(baseline, n_classes=2, multi_label=False, n=300):
    train, validation = (make(size, seed, n_classes, multi_label) for seed, size in ((1, n), (2, 100)))
    return baseline().fit(train, validation, SIZES, n_classes, multi_label)


def test_registry_names_are_the_baselines_own():
    assert list(BASELINES) == ["most frequent", "bag + logistic regression", "bag + LightGBM"]


def test_counts_equal_a_counter():
    encoded = make(20)
    features = BagFeatures.of(encoded, SIZES)
    counts = features.counts(encoded).toarray()
    assert counts.shape == (20, len(features.count_names))
    for row in range(20):
        span = slice(encoded.offsets[row], encoded.offsets[row + 1])
        expected = Counter(f"{name}:{i}" for name, ids in encoded.ids.items() for i in ids[span])
        assert {name: n for name, n in zip(features.count_names, counts[row], strict=True) if n} == expected


def test_aggregates_equal_a_loop():
    encoded = make(20)
    names, values = BagFeatures.of(encoded, SIZES).aggregates(encoded)
    assert len(set(names)) == len(names) == values.shape[1]
    assert np.isfinite(values).all()
    for row in range(20):
        got = dict(zip(names, values[row], strict=True))
        for name, expected in _slow_aggregates(encoded, row).items():
            assert got[name] == pytest.approx(expected, abs=1e-5), (row, name)


def _slow_aggregates(encoded: EncodedSequences, row: int) -> dict[str, float]:
    events = range(encoded.offsets[row], encoded.offsets[row + 1])
    if not events:
        return {"no events": 1, "events": 0, "days since last event": 0, "mean size": 0, "night share": 0}
    ages, sizes = [encoded.age_days[e] for e in events], [encoded.numbers["size"][e, 0] for e in events]
    return {
        "no events": 0,
        "events": np.log1p(len(events)),
        "days since last event": np.log1p(min(ages)),
        "days since first event": np.log1p(max(ages)),
        "events in last 30 days": np.log1p(sum(age <= 30 for age in ages)),
        "kind:4 in last 90 days": np.log1p(
            sum(encoded.ids["kind"][e] == 4 and encoded.age_days[e] <= 90 for e in events)
        ),
        "different kind": np.log1p(len({encoded.ids["kind"][e] for e in events})),
        "longest gap in days": np.log1p(max(encoded.gap_days[e] for e in events)),
        "mean gap in days": np.log1p(np.mean([encoded.gap_days[e] for e in events])),
        "night share": np.mean([encoded.hour[e] < 6 for e in events]),
        "weekend share": np.mean([encoded.weekday[e] >= 5 for e in events]),
        "mean size": np.mean(sizes),
        "smallest size": min(sizes),
        "largest size": max(sizes),
        "last size": sizes[-1],
        "size missing share": np.mean([encoded.numbers["size"][e, 1] for e in events]),
        f"region:{encoded.profile_ids['region'][row]}": 1,
        "score": encoded.profile_numbers["score"][row, 0],
    }


def test_fields_of_many_values_are_not_counted_per_window():
    encoded = make(5)
    names, _ = BagFeatures.of(encoded, SIZES).aggregates(encoded)
    assert not any(name.startswith("item_id:") for name in names)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(("n_classes", "multi_label"), SHAPES)
def test_probabilities_are_probabilities(name, n_classes, multi_label):
    probability = fitted(BASELINES[name], n_classes, multi_label).predict_proba(make(50, 3, n_classes, multi_label))
    assert probability.shape == (50, n_classes)
    assert ((probability >= 0) & (probability <= 1)).all()
    if not multi_label:
        np.testing.assert_allclose(probability.sum(axis=1), 1.0)


@pytest.mark.parametrize("baseline", [BagLogistic, BagLightGBM])
@pytest.mark.parametrize(("n_classes", "multi_label"), SHAPES)
def test_counting_finds_what_can_be_counted(baseline, n_classes, multi_label):
    test = make(200, 3, n_classes, multi_label)
    answer = fitted(baseline, n_classes, multi_label).predict_proba(test).argmax(axis=1)
    truth = test.target.argmax(axis=1) if multi_label else test.target
    assert (answer == truth)[1:].mean() > 0.75


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(("n_classes", "multi_label"), SHAPES)
def test_a_saved_baseline_gives_the_same_bits(name, n_classes, multi_label):
    baseline = fitted(BASELINES[name], n_classes, multi_label)
    tensors, document = baseline.to_state()
    restored = BASELINES[name].from_state(tensors, json.loads(json.dumps(document)))
    test = make(50, 3, n_classes, multi_label)
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
    assert np.array_equal(baseline.predict_proba(test), restored.predict_proba(test))
    assert json.dumps(restored.to_state()[1]) == json.dumps(document)


@pytest.mark.parametrize("name", BASELINES)
def test_a_row_scores_the_same_alone_and_among_others(name):
    baseline, test = fitted(BASELINES[name]), make(20, 3)
    together = baseline.predict_proba(test)
    alone = np.concatenate([baseline.predict_proba(test.take(np.array([row]))) for row in range(20)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", BASELINES)
def test_no_validation_rows_and_no_rows_to_score(name):
    train = make(100, 1)
    baseline = BASELINES[name]().fit(train, train.take(np.array([], dtype=int)), SIZES, 2)
    assert baseline.predict_proba(train.take(np.array([], dtype=int))).shape == (0, 2)
    assert baseline.predict_proba(train).shape == (100, 2)


@pytest.mark.parametrize("name", BASELINES)
def test_a_class_that_training_lacks_gets_next_to_nothing(name):
    train, validation = make(100, 1), make(50, 2)
    baseline = BASELINES[name]().fit(train, validation, SIZES, 3)
    probability = baseline.predict_proba(validation)
    assert probability.shape == (50, 3)
    assert probability[:, 2].max() < 1e-3


@pytest.mark.parametrize("name", BASELINES)
def test_one_class_only(name):
    train = make(60, 1).with_target(np.zeros(60, dtype=np.int64))
    assert BASELINES[name]().fit(train, train, SIZES, 2).predict_proba(train)[:, 0].min() > 0.99


@pytest.mark.parametrize("name", BASELINES)
def test_unknown_labels_are_left_out(name):
    train, validation = make(300, 1, 3, True), make(100, 2, 3, True)
    target = train.target.copy()
    target[::2, 0] = np.nan
    some = BASELINES[name]().fit(train.with_target(target), validation, SIZES, 3, multi_label=True)
    assert np.isfinite(some.predict_proba(validation)).all()


def test_most_frequent_is_the_share_of_training():
    train = make(100, 1)
    assert fitted(MostFrequent, n=100).predict_proba(train)[0, 1] == pytest.approx(train.target.mean())


def test_same_seed_gives_the_same_trees():
    assert fitted(BagLightGBM).models_ == fitted(BagLightGBM).models_


def test_rows_without_target_are_refused_with_a_sentence():
    train = make(20).with_target(None)
    with pytest.raises(DataError, match="no target"):
        BagLogistic().fit(train, train, SIZES, 2)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtraError, match=r"habitus\[baselines\]"):
        fitted(BagLightGBM)
