"""Examples: who is judged, when, and what came of it; bad rows rejected, suspicious columns named aloud."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from habitus.data.events import read_events
from habitus.data.examples import align_entities, derive_examples, read_examples
from habitus.errors import ConfigError, DataError
from habitus.fields.category import Category
from habitus.fields.number import Number

DAYS = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 8)]
TICK = timedelta(microseconds=1)


def events(users=("b", "a", "b"), days=(3, 1, 2), **columns):
    return read_events(pl.DataFrame({"user_id": list(users), "timestamp": [DAYS[day] for day in days], **columns}))


def table(n=3, **columns):
    good = {"user_id": ["a", "b", "c"][:n], "cutoff": DAYS[4 : 4 + n], "risk": [0, 1, 0][:n]}
    return pl.DataFrame({**good, **columns})


def read(frame, target="risk", log=None, **options):
    return read_examples(frame, log or events(), target=target, **options)[0]


# --- the table ---


def test_rows_keep_their_order_and_columns_their_meaning():
    examples, schema = read_examples(table(age=[30, 20, 1_000], region=["n", "s", None]), events(), target="risk")
    assert examples.frame.columns == ["user_id", "cutoff", "risk", "age", "region"]
    assert examples.frame["user_id"].to_list() == ["a", "b", "c"]
    assert (schema.target, schema.cutoff) == ("risk", "cutoff")
    assert schema.profile == {"age": Category(), "region": Category()}
    assert examples.schema == schema


def test_a_profile_of_many_whole_numbers_is_a_number():
    n = 40
    frame = pl.DataFrame({"user_id": [f"u{i}" for i in range(n)], "cutoff": [DAYS[0]] * n, "age": list(range(n))})
    assert read(frame, None).schema.profile == {"age": Number()}


def test_other_columns_may_carry_the_entity_and_the_cutoff():
    frame = table().rename({"user_id": "client", "cutoff": "asked_at"})
    examples = read(frame, entity="client", cutoff="asked_at")
    assert examples.frame.columns == ["user_id", "asked_at", "risk"]
    assert examples.schema.cutoff == "asked_at"


def test_a_cutoff_named_like_a_column_of_the_log_is_called_cutoff():
    examples = read(table().rename({"cutoff": "timestamp"}), cutoff="timestamp")
    assert examples.frame.columns == ["user_id", "cutoff", "risk"]


def test_a_well_known_entity_name_is_taken_aloud():
    examples = read(table().rename({"user_id": "customer_id"}))
    assert any("'customer_id'" in note for note in examples.notes)
    with pytest.raises(DataError, match="--entity"):
        read(table().rename({"user_id": "who"}))


def test_a_csv_table_reads_like_a_typed_one(tmp_path):
    table().write_csv(tmp_path / "labels.csv")
    examples = read(str(tmp_path / "labels.csv"))
    assert examples.frame.equals(read(table()).frame)


def test_a_profile_column_with_the_name_of_an_event_field_is_ignored_aloud():
    log = events(country=["x", "y", "x"])
    examples = read(table(country=["x", "y", "z"]), log=log)
    assert "country" not in examples.frame.columns
    assert any("'country' is ignored" in note for note in examples.notes)


# --- cutoffs ---


def test_cutoffs_follow_the_rules_of_timestamps():
    assert read(table(cutoff=[int(day.timestamp()) for day in DAYS[4:]])).frame["cutoff"].to_list() == DAYS[4:]
    assert read(table(cutoff=[day.date() for day in DAYS[4:]])).frame["cutoff"].to_list() == DAYS[4:]
    with pytest.raises(DataError, match=r'time_zone="UTC"'):
        read(table(cutoff=["2024-01-05 00:00:00"] * 3))


def test_naive_cutoffs_are_read_in_the_zone_of_the_log():
    log = read_events(pl.DataFrame({"user_id": ["a"], "timestamp": [datetime(2024, 1, 1)]}), time_zone="Asia/Tokyo")
    cutoffs = read(table(cutoff=[datetime(2024, 1, 5, 9)] * 3), log=log).frame["cutoff"]
    assert cutoffs[0] == datetime(2024, 1, 5, tzinfo=UTC)


def test_null_cutoffs_and_entities_reject_the_row():
    examples = read(table(user_id=["a", None, "c"], cutoff=[None, DAYS[5], DAYS[6]]))
    assert examples.frame["user_id"].to_list() == ["c"]
    assert examples.rejects.counts == {"'user_id' is missing": 1, "'cutoff' is missing": 1}
    assert [sample.row for sample in examples.rejects.samples] == [1, 2]


def test_cutoffs_out_of_range_reject_the_row():
    examples = read(table(cutoff=[DAYS[4], datetime(9999, 12, 31, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)]))
    assert examples.rejects.counts == {"'cutoff' is outside 1970-01-02 to 2099-12-31": 2}


def test_repeated_examples_are_kept_aloud():
    examples = read(table(user_id=["a", "a", "b"], cutoff=[DAYS[4]] * 3))
    assert examples.frame.height == 3
    assert any("1 examples repeat" in note for note in examples.notes)


def test_without_a_cutoff_each_entity_is_judged_at_the_end_of_its_history_aloud():
    examples = read(table().drop("cutoff"))
    assert examples.frame["cutoff"].to_list() == [DAYS[1] + TICK, DAYS[3] + TICK, DAYS[3] + TICK]  # "c" has no history
    assert any("no cutoff column" in note for note in examples.notes)


def test_a_derived_cutoff_finds_entities_of_another_type():
    log = read_events(pl.DataFrame({"user_id": ["1", "02"], "timestamp": [DAYS[1], DAYS[2]]}))
    examples = read(pl.DataFrame({"user_id": [1, 2], "risk": [0, 1]}), log=log)
    assert examples.frame["cutoff"].to_list() == [DAYS[1] + TICK, DAYS[2] + TICK]  # 2 is not "02": the end of the log
    assert examples.frame["user_id"].to_list() == [1, 2]


@pytest.mark.parametrize("name", ["cutof", "Cutoff", "cut_off"])
def test_a_misspelt_cutoff_is_refused_not_derived(name):
    with pytest.raises(DataError, match="cutoff="):
        read(table().rename({"cutoff": name}))


def test_a_cutoff_that_was_asked_for_must_exist():
    with pytest.raises(DataError, match="has no column 'when'"):
        read(table(), cutoff="when")


# --- targets ---


def test_rows_without_a_label_are_rejected():
    examples = read(table(risk=[0.0, None, float("nan")]))
    assert examples.rejects.counts == {"'risk' has no label": 2}
    assert read(table(risk=["yes", "", None])).rejects.total == 2


def test_infinite_targets_are_rejected():
    assert read(table(risk=[1.0, float("inf"), 2.0])).rejects.counts == {"'risk' is infinite": 1}


def test_text_in_a_csv_target_of_numbers_rejects_the_row(tmp_path):
    n = 200
    lines = [f"u{i},2024-01-05T00:00Z,{i}.5" for i in range(n)] + ["v,2024-01-05T00:00Z,oops", "w,2024-01-05T00:00Z,"]
    (tmp_path / "labels.csv").write_text("user_id,cutoff,amount\n" + "\n".join(lines) + "\n")
    examples = read(tmp_path / "labels.csv", "amount")
    assert examples.frame["amount"].dtype == pl.Float64
    assert examples.rejects.counts == {"'amount' is not a number": 1, "'amount' has no label": 1}


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([True, False, True], pl.Boolean),
        (["a", "b", "a"], pl.String),
        ([0, 1, 2], pl.Int64),
        ([0.5, 1.5, 2.5], pl.Float64),
        ([["a"], [], ["a", "b"]], pl.List(pl.String)),
    ],
)
def test_targets_keep_their_type(values, dtype):
    target = read(table(risk=pl.Series(values, dtype=dtype))).frame["risk"]
    assert (target.dtype, target.to_list()) == (dtype, values)


def test_decimal_and_categorical_targets_become_plain():
    assert read(table(risk=[Decimal("1.5")] * 3)).frame["risk"].to_list() == [1.5] * 3
    assert read(table(risk=pl.Series(["a", "b", "a"], dtype=pl.Categorical))).frame["risk"].dtype == pl.String


def test_times_are_no_targets():
    with pytest.raises(DataError, match="target 'risk'"):
        read(table(risk=[date(2024, 1, 1)] * 3))


def test_several_targets_become_one_list():
    examples = read(table(fraud=[1, 0, None]), ["risk", "fraud"])
    assert examples.target == "risk+fraud"
    assert examples.labels == ("risk", "fraud")
    assert examples.frame["risk+fraud"].to_list() == [[0, 1], [1, 0]]
    assert examples.rejects.counts == {"'fraud' has no label": 1}


def test_a_wrong_target_is_refused_with_the_nearest_name():
    with pytest.raises(DataError, match="did you mean 'risk'"):
        read(table(), "risks")
    with pytest.raises(ConfigError, match="cannot be the target"):
        read(table(), "user_id")
    with pytest.raises(ConfigError, match="twice"):
        read(table(), ["risk", "risk"])
    with pytest.raises(DataError, match="name of a column of the log"):
        read(table(), log=events(risk=["x", "y", "z"]))


def test_a_table_with_no_label_at_all_is_refused():
    with pytest.raises(DataError, match="has no label"):
        read(table(risk=[None] * 3))


# --- profile ---


@pytest.mark.parametrize("name", ["true_probability", "score", "prediction", "Split", "label", "y", "churn_pred"])
def test_columns_that_sound_like_answers_are_kept_and_named_aloud(name):
    examples = read(table(**{name: ["x", "y", "z"]}))
    assert name in examples.frame.columns
    assert any("Suspected leak" in note and f"'{name}'" in note for note in examples.notes)


@pytest.mark.parametrize("name", ["age", "region", "predecessor", "problems", "scorecard", "tray"])
def test_ordinary_columns_raise_no_suspicion(name):
    assert not any("leak" in note for note in read(table(**{name: ["x", "y", "z"]})).notes)


def test_fields_and_drop_decide_the_profile():
    frame = table(age=[30, 20, 10], ignored=[1, 2, 3])
    log = events(kind=["x", "y", "x"])
    examples = read(frame, log=log, fields={"age": "number", "kind": "category"}, drop=["ignored", "kind"])
    assert examples.schema.profile == {"age": Number()}
    with pytest.raises(DataError, match=r"Neither the log nor .*did you mean 'age'"):
        read(frame, fields={"agee": "number"})


def test_scoring_requires_the_profile_that_the_model_knows():
    _, schema = read_examples(table(age=[30, 20, 1_000]), events(), target="risk")
    with pytest.raises(DataError, match=r"lacks 'age'.*did you mean 'ages'"):
        read(table(ages=[1, 2, 3]), None, schema=schema)


def test_scoring_ignores_extra_columns_aloud_and_needs_no_target():
    log = events()
    _, schema = read_examples(table(), log, target="risk")
    examples, again = read_examples(table(extra=[1, 2, 3]).drop("risk"), log, schema=schema)
    assert examples.frame.columns == ["user_id", "cutoff"]
    assert again == schema
    assert any("extra" in note for note in examples.notes)


def test_scoring_rejects_values_of_another_type_as_in_a_log():
    frame = table(income=[30.5, 20.0, 10.0])
    _, schema = read_examples(frame, events(), target="risk")
    examples = read(frame.with_columns(income=pl.Series(["1.5", "lots", ""])), None, schema=schema)
    assert examples.frame["income"].to_list() == [1.5, None]
    assert examples.rejects.counts == {"'income' is not a number": 1}


# --- no table ---


def test_derived_examples_come_in_order_of_first_appearance():
    examples = derive_examples(events())
    assert examples.frame.to_dict(as_series=False) == {
        "user_id": ["b", "a"],
        "cutoff": [DAYS[3] + TICK, DAYS[1] + TICK],
    }


def test_derived_examples_have_a_missing_profile_aloud():
    log = events()
    _, schema = read_examples(table(age=[30.5, 20.5, 10.5], region=["n", "s", "s"]), log, target="risk")
    scoring = read_events(pl.DataFrame({"user_id": ["a"], "timestamp": [DAYS[0]]}), schema)
    examples = derive_examples(scoring)
    assert examples.frame.select("age", "region").row(0) == (None, None)
    assert examples.frame.schema["age"] == pl.Float64
    assert any("age, region" in note for note in examples.notes)


# --- joining ---


@pytest.mark.parametrize(
    ("logged", "asked", "expected"),
    [([7], [7], [7]), (["7"], [7], ["7"]), ([7], ["7"], ["7"]), (["007"], ["007"], ["007"])],
)
def test_entities_are_aligned_by_the_join_rule(logged, asked, expected):
    log = read_events(pl.DataFrame({"user_id": logged, "timestamp": [DAYS[0]]}))
    examples = read(pl.DataFrame({"user_id": asked, "cutoff": [DAYS[1]]}), None, log=log)
    assert examples.frame["user_id"].to_list() == asked  # as given: predictions show it so
    assert align_entities(log, examples)["user_id"].to_list() == expected
