"""Each leak is planted into a clean simulated log and found; the clean log warns of nothing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.audit import Leak, find_leaks
from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.simulate import Simulation, simulate_installs
from habitus.data.split import Split
from habitus.errors import DataError
from habitus.strict_json import dump

MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)


@pytest.fixture(scope="module")
def clean() -> Simulation:
    return simulate_installs(500, seed=3)


def leaks(events: pl.DataFrame, labels: pl.DataFrame, *, split: Split | None = None, target="risk") -> list[Leak]:
    log = read_events(events)
    examples, schema = read_examples(labels, log, target=target)
    part = split.assign(examples.frame, schema.entity, schema.cutoff) if split else None
    return find_leaks(log, examples, part)


def kinds(found: list[Leak], severity: str = "warning") -> list[str]:
    return [leak.kind for leak in found if leak.severity == severity]


def the(found: list[Leak], kind: str) -> Leak:
    (leak,) = [leak for leak in found if leak.kind == kind]
    return leak


def added(events: pl.DataFrame, who: pl.Series, when: pl.Series, **fields: object) -> pl.DataFrame:
    rows = pl.DataFrame({"user_id": who, "timestamp": when}).with_columns(
        **{name: pl.lit(value) for name, value in fields.items()}
    )
    return pl.concat([events, rows], how="diagonal_relaxed")


def one_each(labels: pl.DataFrame) -> pl.DataFrame:
    return labels.unique("user_id", keep="last", maintain_order=True)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_clean_data_gives_no_warning(seed):
    simulation = simulate_installs(300 + 100 * seed, seed=seed)
    for split in (Split(seed=seed), Split(by="time"), Split(by="new-entities")):
        assert kinds(leaks(simulation.events, simulation.labels, split=split)) == []


def test_findings_are_plain_data(clean):
    labels = clean.labels.with_columns(y_true=pl.col("risk"))
    found = leaks(clean.events, labels, split=Split())
    assert dump([leak.to_json() for leak in found])
    assert [leak.severity for leak in found] == sorted((leak.severity for leak in found), reverse=True)


# -- what occurs only after the cutoffs


def test_a_value_that_occurs_only_after_the_cutoffs_is_found(clean):
    risky = (
        clean.labels.group_by("user_id").agg(pl.col("cutoff").max(), pl.col("risk").max()).filter(pl.col("risk") == 1)
    )
    events = added(clean.events, risky["user_id"], risky["cutoff"] + 3 * DAY, category="collection_call")
    leak = the(leaks(events, clean.labels), "value-after-cutoff")
    assert leak.severity == "warning"
    assert "'category' = 'collection_call' occurs only after the cutoffs" in leak.sentence
    assert f"({risky.height} events of {risky.height} entities)" in leak.sentence
    assert leak.numbers["n_after"] == leak.numbers["entities_after"] == risky.height


def test_such_a_value_is_found_when_all_cutoffs_are_equal_and_it_goes_with_the_target(clean):
    moment = datetime(2024, 9, 1, tzinfo=UTC)
    labels = one_each(clean.labels).with_columns(cutoff=pl.lit(moment))
    risky = labels.filter(pl.col("risk") == 1)["user_id"]
    calm = labels.filter(pl.col("risk") == 0)["user_id"]
    events = added(clean.events, risky, pl.Series([moment + DAY] * len(risky)), category="collection_call")
    events = added(events, calm, pl.Series([moment + DAY] * len(calm)), category="game")
    found = leaks(events, labels)
    leak = the(found, "value-after-cutoff")
    assert "It goes with the target: 'risk' = '1' in 100.0%" in leak.sentence
    assert kinds(found) == ["value-after-cutoff"]
    assert "one-cutoff" in kinds(found, "note")


def test_values_that_are_merely_new_are_a_note(clean):
    moment = datetime(2024, 9, 1, tzinfo=UTC)
    labels = one_each(clean.labels).with_columns(cutoff=pl.lit(moment))
    who = labels["user_id"][:60]
    found = leaks(added(clean.events, who, pl.Series([moment + DAY] * 60), category="new kind of app"), labels)
    assert kinds(found) == []
    assert "'new kind of app'" in the(found, "new-values").sentence


def test_a_field_that_is_filled_only_after_the_cutoffs_is_found(clean):
    last = clean.labels.group_by("user_id").agg(pl.col("cutoff").max())
    events = clean.events.join(last, on="user_id", how="left").with_columns(
        days_late=pl.when(pl.col("timestamp") >= pl.col("cutoff")).then(pl.lit(12.5))
    )
    leak = the(leaks(events.drop("cutoff"), clean.labels), "field-after-cutoff")
    assert (leak.severity, leak.numbers["field"], leak.numbers["n_before"]) == ("warning", "days_late", 0)


# -- what alone decides the target


def test_a_value_in_the_history_that_decides_the_target_is_found(clean):
    risky = clean.labels.filter(pl.col("risk") == 1)
    events = added(clean.events, risky["user_id"], risky["cutoff"] - MICROSECOND, category="written_off")
    found = leaks(events, one_each(clean.labels))
    leak = the(found, "deciding-value")
    assert "'category' = 'written_off' before the cutoff nearly decides the target" in leak.sentence
    assert leak.numbers["auc"] > 0.95


def test_a_rare_but_pure_value_is_found(clean):
    risky = one_each(clean.labels).filter(pl.col("risk") == 1)[:60]
    events = added(clean.events, risky["user_id"], risky["cutoff"] - MICROSECOND, category="written_off")
    leak = the(leaks(events, one_each(clean.labels)), "deciding-value")
    assert leak.numbers["n_with"] == 60 and leak.numbers["rate_with"] == 1.0


def test_a_value_seen_a_few_times_proves_nothing(clean):
    risky = one_each(clean.labels).filter(pl.col("risk") == 1)[:8]
    events = added(clean.events, risky["user_id"], risky["cutoff"] - MICROSECOND, category="written_off")
    assert kinds(leaks(events, one_each(clean.labels))) == []


def test_a_number_in_the_history_that_decides_the_target_is_found(clean):
    labels = one_each(clean.labels)
    events = clean.events.join(labels.select("user_id", "risk"), on="user_id", how="left")
    events = events.with_columns(balance=pl.col("size_mb").fill_null(1) - 10_000 * pl.col("risk").fill_null(0))
    leak = the(leaks(events.drop("risk"), labels), "deciding-number")
    assert leak.numbers["field"] == "balance"


def test_a_profile_number_that_decides_the_target_is_found(clean):
    noise = pl.Series(np.random.default_rng(0).normal(size=clean.labels.height))
    labels = clean.labels.with_columns(bureau=pl.col("risk") * 5 + noise)
    leak = the(leaks(clean.events, labels), "deciding-profile")
    assert leak.severity == "warning" and "'bureau' alone tells 'risk' = '1' with AUC" in leak.sentence


def test_a_profile_category_that_decides_the_target_is_found(clean):
    state = pl.when(pl.col("risk") == 1).then(pl.lit("closed")).otherwise(pl.lit("open"))
    assert the(leaks(clean.events, clean.labels.with_columns(state=state)), "deciding-profile").numbers["auc"] == 1.0


def test_a_profile_field_that_is_missing_for_one_class_is_found(clean):
    labels = clean.labels.with_columns(branch=pl.when(pl.col("risk") == 0).then(pl.lit("b")))
    assert "deciding-profile" in kinds(leaks(clean.events, labels))


def test_a_profile_field_with_a_value_of_its_own_for_everyone_decides_nothing(clean):
    labels = clean.labels.with_columns(phone="p" + pl.int_range(pl.len()).cast(pl.String))
    assert kinds(leaks(clean.events, labels)) == []


@pytest.mark.parametrize("name", ["true_probability", "y_true", "yTrue", "Predicted", "target_30d"])
def test_a_profile_field_that_sounds_like_an_answer_is_found(clean, name):
    labels = clean.labels.with_columns(pl.lit("x").alias(name))
    assert the(leaks(clean.events, labels), "suspicious-name").severity == "warning"


@pytest.mark.parametrize("name", ["bureau_score", "split", "risk_next_month"])
def test_a_doubtful_name_is_a_note(clean, name):
    labels = clean.labels.with_columns(pl.lit("x").alias(name))
    assert the(leaks(clean.events, labels), "suspicious-name").severity == "note"


def test_cutoffs_that_were_chosen_by_the_outcome_are_found(clean):
    later = pl.when(pl.col("risk") == 1).then(pl.col("cutoff") + 365 * DAY).otherwise(pl.col("cutoff"))
    found = leaks(clean.events, clean.labels.with_columns(cutoff=later))
    assert any(leak.kind == "deciding-cutoff" and "date of the cutoff" in leak.sentence for leak in found)


# -- where the cutoffs lie


def test_entities_on_both_sides_of_a_split_are_found(clean):
    part = np.array(["train", "test"])[np.arange(clean.labels.height) % 2]
    log = read_events(clean.events)
    leak = the(find_leaks(log, read_examples(clean.labels, log, target="risk")[0], part), "both-sides")
    assert leak.severity == "warning" and 0 < leak.numbers["n"] < clean.labels.height


def test_known_entities_at_later_cutoffs_are_a_note(clean):
    found = leaks(clean.events, clean.labels, split=Split(by="time"))
    assert the(found, "both-sides").severity == "note"


def test_an_entity_without_events_and_a_cutoff_before_the_log_are_counted(clean):
    cutoffs = [datetime(2024, 8, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)]
    odd = pl.DataFrame({"user_id": ["nobody", clean.labels["user_id"][0]], "cutoff": cutoffs, "risk": [0, 1]})
    leak = the(leaks(clean.events, pl.concat([clean.labels, odd], how="diagonal_relaxed")), "empty-history")
    assert (leak.severity, leak.numbers["n_unknown_entities"], leak.numbers["n_before_log"]) == ("note", 1, 1)


def test_many_empty_histories_are_a_warning(clean):
    labels = clean.labels.with_columns(cutoff=pl.col("cutoff") - 3650 * DAY)
    assert "empty-history" in kinds(leaks(clean.events, labels))


def test_cutoffs_long_after_the_log_are_a_warning(clean):
    found = leaks(clean.events, clean.labels.with_columns(cutoff=pl.col("cutoff") + 900 * DAY))
    leak = the(found, "cutoff-after-log")
    assert leak.severity == "warning" and 800 < leak.numbers["days"] < 1000


def test_stale_histories_are_counted_with_their_days(clean):
    events = clean.events.filter((pl.col("user_id") != "u0000001") | (pl.col("timestamp").dt.month() <= 1))
    labels = one_each(clean.labels).with_columns(cutoff=pl.lit(datetime(2024, 12, 1, tzinfo=UTC)))
    leak = the(leaks(events, labels), "stale-history")
    assert leak.numbers["n"] >= 1 and leak.numbers["days"] > 90


def test_cutoffs_after_the_end_of_the_log_are_fine(clean):
    labels = one_each(clean.labels).with_columns(cutoff=pl.lit(datetime(2025, 1, 2, tzinfo=UTC)))
    found = leaks(clean.events, labels)
    assert kinds(found) == []
    assert {"one-cutoff", "cutoffs-after-end"} <= set(kinds(found, "note"))


def test_one_entity_and_cutoff_with_two_labels_is_found(clean):
    again = clean.labels[:3].with_columns(risk=1 - pl.col("risk"))
    leak = the(leaks(clean.events, pl.concat([clean.labels, again])), "different-labels")
    assert (leak.severity, leak.numbers["n"], leak.numbers["n_pairs"]) == ("warning", 6, 3)


def test_events_exactly_at_the_cutoff_are_a_note(clean):
    rows = one_each(clean.labels)[:4]
    found = leaks(added(clean.events, rows["user_id"], rows["cutoff"], category="game"), clean.labels)
    assert the(found, "at-cutoff").numbers == {"n_events": 4, "n_examples": 4}
    assert kinds(found) == []


# -- other targets


def test_without_a_target_the_cutoffs_are_still_checked(clean):
    log = read_events(clean.events)
    examples, _ = read_examples(clean.labels.drop("risk"), log)
    assert kinds(find_leaks(log, examples)) == []


def test_each_of_several_classes_is_judged(clean):
    drawn = np.random.default_rng(1).choice(["low", "middle", "high"], clean.labels.height)
    labels = clean.labels.with_columns(segment=pl.Series(drawn)).with_columns(letter=pl.col("segment").str.slice(0, 1))
    leak = the(leaks(clean.events, labels.drop("risk"), target="segment"), "deciding-profile")
    assert leak.numbers["field"] == "letter"
    assert kinds(leaks(clean.events, labels.drop("risk", "letter"), target="segment")) == []


def test_each_of_several_labels_is_judged(clean):
    labels = clean.labels.with_columns(churn=pl.Series(np.random.default_rng(2).integers(0, 2, clean.labels.height)))
    assert kinds(leaks(clean.events, labels, target=["risk", "churn"])) == []
    told = labels.with_columns(state=pl.col("churn").replace_strict({0: "stays", 1: "goes"}))
    leak = the(leaks(clean.events, told, target=["risk", "churn"]), "deciding-profile")
    assert leak.numbers["label"] == "'churn' = '1'"


def test_entities_are_matched_as_they_are_for_training():
    events = pl.DataFrame({"user_id": ["1", "2"], "timestamp": ["2024-01-01T00:00Z"] * 2, "item": ["a", "b"]})
    labels = pl.DataFrame({"user_id": [1, 2], "cutoff": ["2024-01-02T00:00Z"] * 2, "risk": [0, 1]})
    assert "empty-history" not in [leak.kind for leak in leaks(events, labels)]


def test_a_part_of_another_length_is_refused(clean):
    log = read_events(clean.events)
    with pytest.raises(DataError, match="part names 2 examples"):
        find_leaks(log, read_examples(clean.labels, log, target="risk")[0], np.array(["train", "test"]))


def test_a_late_value_that_has_nothing_to_do_with_the_target_is_a_note(clean):
    last = clean.labels.group_by("user_id", maintain_order=True).agg(pl.col("cutoff").max())[::2]
    found = leaks(added(clean.events, last["user_id"], last["cutoff"] + DAY, category="anniversary"), clean.labels)
    assert kinds(found) == []
    assert "'anniversary'" in the(found, "late-values").sentence


def test_a_late_value_is_a_warning_where_there_is_no_target_to_ask(clean):
    last = clean.labels.group_by("user_id", maintain_order=True).agg(pl.col("cutoff").max())[::2]
    log = read_events(added(clean.events, last["user_id"], last["cutoff"] + DAY, category="anniversary"))
    assert kinds(find_leaks(log, read_examples(clean.labels.drop("risk"), log)[0])) == ["value-after-cutoff"]


def test_an_outcome_that_is_all_that_is_logged_after_the_cutoffs_is_found(clean):
    labels = one_each(clean.labels)
    before = clean.events.join(labels.select("user_id", "cutoff"), on="user_id").filter(
        pl.col("timestamp") < pl.col("cutoff")
    )
    risky = labels.filter(pl.col("risk") == 1)
    events = added(before.drop("cutoff"), risky["user_id"], risky["cutoff"] + DAY, category="collection_call")
    assert kinds(leaks(events, labels)) == ["value-after-cutoff"]
