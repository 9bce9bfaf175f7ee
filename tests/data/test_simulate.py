"""The simulation: reproducible, with labels that follow the written process and nothing after the cutoff."""

import datetime as dt
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from habitus.data.simulate import Simulation, causes, simulate_chunks, simulate_installs, write_installs
from habitus.data.simulate.catalog import NAMES, build_catalog
from habitus.data.simulate.histories import (
    ORDER_ARRANGEMENTS,
    START,
    TIME_ARRANGEMENTS,
    Installs,
    draw_installs,
    draw_people,
)
from habitus.errors import ConfigError

DAY = 86_400


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate_installs(n_users=200, seed=3)


@pytest.fixture(scope="module")
def larger() -> Simulation:
    return simulate_installs(n_users=5_000, seed=1)


def test_same_seed_gives_the_same_frames(simulation):
    again, other = simulate_installs(n_users=200, seed=3), simulate_installs(n_users=200, seed=4)
    for name in ("events", "labels", "truth"):
        assert getattr(simulation, name).equals(getattr(again, name))
        assert not getattr(simulation, name).equals(getattr(other, name))


def test_chunks_joined_are_the_whole():
    whole = simulate_installs(n_users=5_020, seed=2)
    chunks = list(simulate_chunks(5_020, seed=2))
    assert pl.concat([chunk.truth for chunk in chunks]).equals(whole.truth)
    assert whole.labels["user_id"].n_unique() == 5_020


def test_columns_and_types(simulation):
    utc = pl.Datetime("us", "UTC")
    text = pl.String
    assert dict(simulation.events.schema) == {
        "user_id": text,
        "timestamp": utc,
        "item_id": text,
        "category": text,
        "size_mb": pl.Float64,
    }
    assert simulation.events["timestamp"].is_sorted()
    assert simulation.labels.columns == ["user_id", "cutoff", "risk", "region", "age_band"]
    assert simulation.labels["cutoff"].dtype == utc
    assert simulation.labels["user_id"][0] == "u0000000"
    assert not simulation.labels.select("user_id", "cutoff").is_duplicated().any()


def test_bad_arguments_get_a_sentence():
    with pytest.raises(ConfigError, match="n_users=0"):
        simulate_installs(n_users=0)


def _slow_truth(simulation: Simulation) -> list[tuple[float, float, float, float]]:
    """The process in docs/simulation.md, written again without arrays."""
    histories = defaultdict(list)
    for user, time, app, category, _ in simulation.events.iter_rows():
        histories[user].append((time, app, category))
    apps = causes.weighted_apps(build_catalog())
    answers = []
    for user, cutoff, _, region, _ in simulation.labels.iter_rows():
        seen = [event for event in histories[user] if event[0] < cutoff]
        lending = [time for time, _, category in seen if category == "lending"]
        gambling = [time for time, _, category in seen if category == "gambling"]
        bag = sum(w * math.log(1 + sum(a == app for _, a, _ in seen)) for app, w in apps.items())
        for name, weight in causes.CATEGORY_WEIGHTS.items():
            bag += weight * math.log(1 + sum(category == name for _, _, category in seen))
        order = any(dt.timedelta(0) < b - a <= dt.timedelta(days=3) for a in gambling for b in lending)
        recent = [time for time in lending if time >= cutoff - dt.timedelta(days=30)]
        burst = any(sum(a <= b <= a + dt.timedelta(days=7) for b in recent) >= 4 for a in recent)
        crypto = sum(category == "crypto" for _, _, category in seen)
        answers.append((bag, 2.1 * order, 2.2 * burst, 1.2 * math.log(1 + crypto) * (region == "north")))
    return answers


def test_causes_equal_a_slow_loop(simulation):
    found = simulation.truth.select("bag", "order", "time", "profile").to_numpy()
    assert (found[:, 1:] > 0).any(axis=0).all()
    np.testing.assert_allclose(found, np.array(_slow_truth(simulation)), atol=1e-12)
    logit = causes.INTERCEPT + found.sum(axis=1)
    np.testing.assert_allclose(simulation.truth["true_probability"].to_numpy(), 1 / (1 + np.exp(-logit)), atol=1e-12)


def test_events_at_or_after_the_cutoff_change_no_cause():
    catalog, rng = build_catalog(), np.random.default_rng(0)
    people = draw_people(rng, 300)
    installs = draw_installs(rng, people, catalog)
    first, last = (np.full(300, value) for value in (2**40, -1))
    np.minimum.at(first, people.example_user, people.cutoff_s)
    np.maximum.at(last, people.example_user, people.cutoff_s)
    after = installs.second >= last[installs.user]
    assert after.mean() > 0.2
    app = np.where(after, rng.permutation(installs.app), installs.app)
    changed = causes.find_causes(Installs(installs.user, installs.second, app), people, catalog)
    before = causes.find_causes(installs, people, catalog)
    assert all(np.array_equal(getattr(changed, name), getattr(before, name)) for name in vars(before))
    # The bite: the same change before the cutoff is seen.
    everywhere = Installs(installs.user, installs.second, rng.permutation(installs.app))
    assert not np.array_equal(causes.find_causes(everywhere, people, catalog).logit, before.logit)


@pytest.mark.parametrize(
    ("events", "order", "time"),
    [
        ([("gambling", 10), ("lending", 12)], True, False),
        ([("lending", 10), ("gambling", 12)], False, False),
        ([("gambling", 10), ("lending", 13)], True, False),  # exactly three days
        ([("gambling", 10), ("lending", 13.1)], False, False),
        ([("gambling", 10), ("lending", 10)], False, False),  # the same second is not after
        ([("gambling", 99), ("lending", 100)], False, False),  # lending at the cutoff
        ([("lending", d) for d in (80, 82, 84, 86)], False, True),
        ([("lending", d) for d in (80, 82, 84, 88)], False, False),
        ([("lending", d) for d in (72, 80, 88, 96)], False, False),
        ([("lending", d) for d in (69, 71, 72, 73)], False, False),  # begins before the last 30 days
        ([("lending", d) for d in (96, 97, 98, 100)], False, False),  # ends at the cutoff
        ([("lending", d) for d in (20, 21, 22, 23, 80, 82, 84, 86)], False, True),
    ],
)
def test_order_and_time_by_hand(events, order, time):
    catalog = build_catalog()
    people = draw_people(np.random.default_rng(0), 2)
    people = type(people)(**{**vars(people), "example_user": np.array([1]), "cutoff_s": np.array([100 * DAY])})
    # Person 0 has what person 1 must not inherit.
    user = np.repeat([0, 1], [5, len(events)])
    second = np.array([95, 96, 96, 97, 98, *(day for _, day in events)]) * DAY
    names = ["gambling", "lending", "lending", "lending", "lending", *(name for name, _ in events)]
    app = np.array([catalog.first[NAMES.index(name)] for name in names])
    installs = Installs(user, second.astype(np.int64), app).sorted_by(second, user)
    found = causes.find_causes(installs, people, catalog)
    assert (found.order[0] > 0, found.time[0] > 0) == (order, time)


def test_frequencies_are_the_documented_ones(larger):
    truth, labels = larger.truth, larger.labels
    assert 0.15 < labels["risk"].mean() < 0.25
    assert 0.10 < (truth["order"] > 0).mean() < 0.25
    assert 0.10 < (truth["time"] > 0).mean() < 0.25
    assert 55 < larger.events.height / 5_000 < 65
    assert 0.02 < larger.events["size_mb"].null_count() / larger.events.height < 0.04
    assert labels["user_id"].is_duplicated().mean() > 0.2
    assert 0.83 < roc_auc_score(labels["risk"], truth["true_probability"]) < 0.87


def test_counts_of_lending_and_gambling_hardly_tell_the_order(larger):
    joined = larger.events.join(larger.labels.select("user_id", "cutoff"), on="user_id")
    seen = joined.filter(pl.col("timestamp") < pl.col("cutoff"))
    counts = seen.group_by("user_id", "cutoff").agg(
        *((pl.col("category") == name).sum().alias(name) for name in ("lending", "gambling"))
    )
    table = larger.truth.join(counts, on=["user_id", "cutoff"], how="left").fill_null(0)
    for name in ("lending", "gambling"):
        assert roc_auc_score(table["order"] > 0, table[name]) < 0.62


def test_catalogue_has_chinese_and_emoji_names():
    catalog = build_catalog()
    assert len(set(catalog.name)) == 3_000
    assert any("\u4e00" <= letter <= "\u9fff" for name in catalog.name for letter in name)
    assert any(ord(letter) > 0xFFFF for name in catalog.name for letter in name)
    assert START == "2024-01-01"


def test_files_hold_the_frames(simulation, tmp_path):
    folder = write_installs(simulation, tmp_path / "new" / "folder")
    assert pl.read_parquet(folder / "installs.parquet").equals(simulation.events)
    assert pl.read_parquet(folder / "labels.parquet").equals(simulation.labels)
    assert pl.read_parquet(folder / "truth.parquet").equals(simulation.truth)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{simulation.events.height:,} installs" in readme and "Never an input" in readme


def test_written_in_chunks_equals_written_at_once(tmp_path):
    write_installs(simulate_chunks(5_005, seed=2), tmp_path)
    assert pl.read_parquet(tmp_path / "truth.parquet").equals(simulate_installs(5_005, seed=2).truth)
    assert pq.ParquetFile(tmp_path / "installs.parquet").num_row_groups == 2


def test_the_page_states_the_constants_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")
    assert f"logit = {causes.INTERCEPT} + bag + order + time + profile" in page
    for sentence in (f"any time | +{causes.ORDER_WEIGHT} |", f"last 30 days | +{causes.TIME_WEIGHT} |"):
        assert sentence in page
    assert f"+{causes.PROFILE_WEIGHT} * log(1 + installs)" in page
    assert f"{len(causes.CATEGORY_WEIGHTS)} categories and {len(causes.weighted_apps(build_catalog()))} popular" in page
    for share in (*ORDER_ARRANGEMENTS.values(), *TIME_ARRANGEMENTS.values()):
        assert f"({share:.0%})".replace("%", " %") in page or share == ORDER_ARRANGEMENTS["none"]
