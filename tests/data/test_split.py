"""Splits: an entity is on one side only, the test part really comes later, and the order of rows does not matter."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.data.split import Split
from habitus.errors import ConfigError, DataError

START = datetime(2024, 1, 1, tzinfo=UTC)


def examples_of(n=300, n_entities=90, n_days=60, seed=0):
    rng = np.random.default_rng(seed)
    days = rng.integers(0, n_days, n).tolist()
    return pl.DataFrame(
        {"user_id": rng.integers(0, n_entities, n), "cutoff": [START + timedelta(days=day) for day in days]},
        schema_overrides={"cutoff": pl.Datetime("us", "UTC")},
    )


def parts_of(split, examples):
    return split.assign(examples, "user_id", "cutoff")


def entities(examples, parts, *names):
    return set(examples["user_id"].filter(pl.Series(np.isin(parts, names))))


def cutoffs(examples, parts, name):
    return examples["cutoff"].filter(pl.Series(parts == name))


@pytest.mark.parametrize("seed", range(5))
def test_an_entity_is_on_one_side_only(seed):
    examples = examples_of(seed=seed)
    parts = parts_of(Split(seed=seed), examples)
    sides = [entities(examples, parts, name) for name in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == examples["user_id"].n_unique()


def test_a_draw_by_example_would_be_noticed():
    examples = examples_of()
    parts = np.random.default_rng(0).choice(["train", "test"], len(examples))
    assert entities(examples, parts, "train") & entities(examples, parts, "test")


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.2), (0.3, 0.3), (0.1, 0.0)])
def test_entities_are_shared_out_as_asked(validation, test):
    examples = examples_of(n=3000, n_entities=200)
    parts = parts_of(Split(validation=validation, test=test), examples)
    n = examples["user_id"].n_unique()
    assert len(entities(examples, parts, "validation")) == pytest.approx(validation * n, abs=1)
    assert len(entities(examples, parts, "test")) == pytest.approx(test * n, abs=1)


def test_another_seed_draws_other_entities():
    examples = examples_of()
    first, second = (entities(examples, parts_of(Split(seed=seed), examples), "test") for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("by", ["time", "new-entities"])
def test_out_of_time_parts_follow_each_other(by):
    examples = examples_of()
    parts = parts_of(Split(by=by), examples)
    train, validation, test = (cutoffs(examples, parts, name) for name in ("train", "validation", "test"))
    assert train.max() < validation.min() <= validation.max() < test.min()


def test_out_of_time_shares_are_near_what_was_asked():
    parts = parts_of(Split(by="time"), examples_of(n=3000, n_days=2000))
    assert (parts == "test").mean() == pytest.approx(0.2, abs=0.01)
    assert (parts == "validation").mean() == pytest.approx(0.15, abs=0.01)
    assert not (parts == "left-out").any()


def test_equal_cutoffs_stay_together():
    examples = examples_of(n=400, n_days=7)
    parts = parts_of(Split(by="time"), examples)
    assert all(len(set(parts[(examples["cutoff"] == day).to_numpy()])) == 1 for day in examples["cutoff"].unique())


def test_new_entities_never_trained():
    examples = examples_of()
    parts = parts_of(Split(by="new-entities"), examples)
    assert not entities(examples, parts, "train") & entities(examples, parts, "validation", "test")
    assert entities(examples, parts, "left-out") <= entities(examples, parts, "train")
    out_of_time = parts_of(Split(by="time"), examples)
    assert (parts[parts != "left-out"] == out_of_time[parts != "left-out"]).all()
    assert entities(examples, out_of_time, "train") & entities(examples, out_of_time, "test")  # what this split avoids


@pytest.mark.parametrize("by", ["entity", "time", "new-entities"])
@pytest.mark.parametrize("kind", [pl.Int64, pl.String])
def test_the_order_of_rows_does_not_matter(by, kind):
    examples = examples_of().with_columns(pl.col("user_id").cast(kind))
    order = np.random.default_rng(1).permutation(len(examples))
    assert (parts_of(Split(by=by), examples[order]) == parts_of(Split(by=by), examples)[order]).all()


@pytest.mark.parametrize(
    ("by", "examples"),
    [
        ("entity", examples_of(n=50, n_entities=1)),
        ("entity", examples_of(n=2)),
        ("time", examples_of(n=50, n_days=1)),
        ("new-entities", examples_of(n=300, n_entities=2)),
    ],
)
def test_an_empty_part_is_refused_with_advice(by, examples):
    with pytest.raises(DataError, match=f"The split '{by}' leaves no example for .* give more"):
        parts_of(Split(by=by), examples)


def test_without_a_test_share_no_test_part_is_needed():
    assert set(parts_of(Split(test=0.0), examples_of(n=20))) == {"train", "validation"}


@pytest.mark.parametrize("shares", [(0.0, 0.2), (0.5, 0.5), (0.3, -0.1), (1.0, 0.0), (float("nan"), 0.2)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        Split(validation=shares[0], test=shares[1])


def test_an_unknown_way_to_split_is_refused():
    with pytest.raises(ConfigError, match="entity"):
        Split(by="user")
