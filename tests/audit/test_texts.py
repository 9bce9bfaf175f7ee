"""The check of texts: each fault is planted in texts that are otherwise clean, and found by name and number."""

import numpy as np
import polars as pl
import pytest

from habitus.audit import CheckedTexts, describe_texts, find_text_leaks
from habitus.data.options import Data
from habitus.data.text.table import read_texts

DATA = Data(text="review")
WORDS = ["film", "plot", "actor", "scene", "music", "story", "end", "light", "voice", "year"]


def clean(n=200, seed=0):
    """Return texts that say nothing of their mood."""
    rng = np.random.default_rng(seed)
    said = [f"{number} " + " ".join(rng.choice(WORDS, 6)) for number in range(n)]
    return pl.DataFrame({"review": said, "mood": np.where(rng.random(n) < 0.5, "good", "bad")})


def checked(table, data=DATA, part=None, target="mood"):
    return CheckedTexts.of(read_texts(table, data, target=target), data, part)


def found(table, **how):
    return {leak.kind: leak for leak in find_text_leaks(checked(table, **how))}


def put(table, rows, text):
    """Return the table with a text before that of some rows."""
    return table.with_columns(review=pl.when(rows).then(pl.lit(text) + " " + pl.col("review")).otherwise("review"))


def test_clean_texts_have_no_finding():
    assert found(clean()) == {}


def test_equal_texts_with_different_labels_are_counted_and_shown():
    table = clean()
    again = pl.DataFrame({"review": ["Fine, fine!", "fine fine", "fine  FINE"], "mood": ["good", "bad", "bad"]})
    leak = found(pl.concat([table, again]))["contradicting-labels"]
    assert leak.severity == "warning" and leak.numbers["n"] == 3 and leak.numbers["n_texts"] == 1
    assert "'good' (row 201) and 'bad' (row 202)" in leak.sentence
    assert found(pl.concat([clean(900), again]))["contradicting-labels"].severity == "note"


def test_copies_that_train_and_judge_are_found_whatever_their_case():
    table = clean(100)
    table = pl.concat([table, table[:5].with_columns(pl.col("review").str.to_uppercase() + "!")])
    part = np.array(["train"] * 100 + ["test"] * 5)
    leak = found(table, part=part)["copies-on-both-sides"]
    assert leak.severity == "warning" and leak.numbers == {"n": 5, "n_judged": 5}
    assert "copies-on-both-sides" not in found(table, part=np.array(["train"] * 105))


@pytest.mark.parametrize(("n", "kind"), [(200, "deciding-word"), (30, None)])
def test_a_word_that_tells_the_class_is_a_warning(n, kind):
    table = clean(n)
    leaks = found(put(table, pl.col("mood") == "good", "zzz"))
    assert (kind is None and "deciding-word" not in leaks) or leaks[kind].numbers["word"] == "zzz"
    assert kind is None or leaks[kind].severity == "warning"


def test_of_many_topics_a_word_is_a_note():
    topics = clean(300).with_columns(mood=pl.Series(["a1", "b1", "c1"] * 100))
    leak = found(put(topics, pl.col("mood") == "b1", "zzz"))["deciding-word"]
    assert leak.severity == "note" and leak.numbers["label"] == "'mood' = 'b1'"


def test_the_length_of_texts_of_two_sources_is_found():
    table = clean().with_columns(
        review=pl.when(pl.col("mood") == "good").then("review").otherwise(pl.col("review") + " and so on and on")
    )
    assert found(table)["deciding-length"].numbers["auc"] == 1.0


def test_the_name_of_a_label_in_its_texts_is_found():
    table = clean(400).with_columns(mood=pl.Series(["Very_Good", "other", "third", "bad"] * 100))
    rows = (pl.col("mood") == "Very_Good") & (pl.int_range(pl.len()) < 200)
    leak = found(put(table, rows, "very good:"))["label-in-text"]
    assert leak.severity == "note" and leak.numbers["value"] == "Very_Good" and leak.numbers["rate_with"] == 1.0
    everywhere = found(put(table, pl.col("mood") == "Very_Good", "VERY, good."))["label-in-text"]
    assert everywhere.severity == "warning" and everywhere.numbers["n_with"] == 100


def test_a_column_beside_the_text_is_looked_at_as_in_a_log():
    table = clean().with_columns(true_probability=pl.when(pl.col("mood") == "good").then(0.9).otherwise(0.1))
    assert {"deciding-profile", "suspicious-name"} <= set(found(table))


def test_the_facts_are_those_that_can_be_counted_by_hand():
    table = pl.DataFrame(
        {
            "review": ["One two<br />three", "one, two three!", "", "caf\u00c3\u00a9 &amp; tea", "Привет мир", "one"],
            "mood": ["good", "bad", "good", "bad", "good", "bad"],
        }
    )
    data = Data(text="review", max_length=2)
    part = np.array(["train", "train", "train", "train", "train", "test"])
    facts = describe_texts(checked(table, data, part), data)
    (column,) = facts["texts"]
    assert (column["empty"], column["html"], column["garbled"]) == (1, 2, 1)
    assert facts["n"] == 6 and facts["entity"] is None and facts["entities"] == 6
    assert facts["duplicates"] == {"n": 1, "contradicting": 2}
    lengths = [3, 5, 0, 3, 2, 1]  # "caf", "Ã" and "©" are cut apart: the last is no letter
    lengths[3] = len(checked(table[3:4], data).vocabulary.tokens(table["review"][3]))
    assert facts["tokens"]["lengths"]["max"] == max(lengths) and facts["tokens"]["n_cut"] == sum(n > 2 for n in lengths)
    assert facts["tokens"]["share_left_out"] == pytest.approx(sum(max(0, n - 2) for n in lengths) / sum(lengths))
    assert facts["tokens"]["unknown"] == 0.0 and facts["split"]["test"] == 1
    assert list(facts["scripts"]) == ["Latin", "Cyrillic"] and sum(facts["scripts"].values()) == pytest.approx(1)
    assert {one["value"]: one["n"] for one in facts["target"]["values"]} == {"good": 3, "bad": 3}


def test_two_columns_are_one_text_and_no_target_is_needed():
    table = pl.DataFrame({"one": ["a b", "A B", "a"], "two": ["c", "C!", "b c"]})
    data = Data(text="one,two")
    both = checked(table, data, target=None)
    facts = describe_texts(both, data)
    assert facts["duplicates"] == {"n": 1, "contradicting": 0} and facts["target"] is None
    assert [one["name"] for one in facts["texts"]] == ["one", "two"] and find_text_leaks(both) == []


def test_texts_of_a_named_entity_that_stand_on_both_sides_are_told():
    table = clean(60).with_columns(user_id=pl.Series([f"u{number % 6}" for number in range(60)]))
    part = np.array(["train", "test"])[np.arange(60) // 30]
    leaks = find_text_leaks(checked(table, part=part))
    assert [leak.kind for leak in leaks] == ["both-sides"]
