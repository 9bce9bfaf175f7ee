"""`habitus check --text`: what it prints, its JSON, and what it refuses."""

import json

import polars as pl
import pytest

from habitus.cli import main
from tests.audit.test_texts import clean


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean(80).write_csv("reviews.csv")
    return tmp_path


def run(capsys, text):
    code = main(text.split())
    return code, *capsys.readouterr()


def test_clean_texts_are_ready_and_the_json_says_the_same(place, capsys):
    code, out, _ = run(capsys, "check --text review --examples reviews.csv --target mood --max-length 5")
    assert code == 0 and out.rstrip().splitlines()[-1] == "Ready: 80 texts."
    assert "max_length=5: 80 texts (100.0%)" in out and "'mood': " in out
    facts = json.loads(run(capsys, "check --text review --examples reviews.csv --target mood --json")[1])
    assert facts["n"] == 80 and facts["verdict"] == "Ready: 80 texts." and facts["tokens"]["n_cut"] == 0
    assert {"source", "texts", "tokens", "duplicates", "target", "split", "rejects", "notes", "leaks"} <= set(facts)


def test_without_a_target_the_next_step_is_said(place, capsys):
    _, out, err = run(capsys, "check --text review --examples reviews.csv --drop mood")
    assert "with --target NAME" in out + err and "'mood'" not in out


def test_faults_are_warnings_and_rejected_rows_are_written(place, capsys):
    table = clean(80).with_columns(review=pl.col("mood") + " " + pl.col("review"))
    table = pl.concat([table, pl.DataFrame({"review": ["odd"], "mood": [None]})], how="vertical_relaxed")
    table.write_parquet("leaky.parquet")
    _, out, _ = run(capsys, "check --text review --examples leaky.parquet --target mood --rejects rejects.csv")
    assert "warning: Texts hold the name of their class" in out and "1 row rejected" in out
    assert (place / "rejects.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--text review", "give their table with --examples"),
        ("--text review --examples reviews.csv --events log.csv", "leave out events"),
        ("--examples reviews.csv", "Nothing says what is to be read"),
        ("--text reveiw --examples reviews.csv", "did you mean 'review'"),
        ("--text review --examples reviews.csv --split time", "has no column 'cutoff'"),
    ],
)
def test_what_cannot_be_checked_is_refused(place, capsys, words, said):
    code, _, err = run(capsys, f"check {words}")
    assert code in (1, 2) and said in " ".join(err.split())


def test_a_text_of_events_is_described_as_one(place, capsys):
    pl.DataFrame(
        {"user_id": ["a", "b"], "timestamp": ["2024-01-31T10:00Z"] * 2, "title": ["One film", "one film"]}
    ).write_csv("log.csv")
    facts = json.loads(run(capsys, "check --events log.csv --field title=text --json")[1])
    (title,) = facts["fields"]
    assert (title["kind"], title["n_values"]) == ("text", 2)
