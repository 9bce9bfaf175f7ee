"""Texts on the command line: what is said, what is refused, what stands in the folder of a run."""

import json
import shlex

import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.cli import app, main
from tests.test_text_model import reviews, shop


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with reviews, and what fitting them once said and left in `run`."""
    folder = tmp_path_factory.mktemp("texts")
    reviews(90).drop("stars").write_csv(folder / "reviews.csv")
    return folder, {}


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder[0])
    return folder[0]


@pytest.fixture
def fitted(folder, here, capsys):
    if not folder[1]:
        assert main(FIT) == 0
        folder[1]["said"] = capsys.readouterr().err
    return folder[1]["said"]


FIT = shlex.split("fit classify --text review --target mood --examples reviews.csv --out run --quiet")
FIT += ["--epochs", "1", "--max-length", "9", "--set", 'options.baselines=["bag + logistic regression"]']
FIT += ["--backbone", "gru"]


def test_a_run_of_texts_from_fit_to_scores(here, fitted, capsys):
    said = fitted
    assert "longer than max_length=9 tokens" in said and "predict run --examples NEW_TEXTS" in said
    data = json.loads((here / "run" / "data.json").read_text("utf-8"))
    assert data["unit"] == "tokens" and data["fields"][0]["kind"] == "text"
    assert {one["value"] for one in data["commonest"]} >= {"good", "bad", "film"}
    assert data["most_wrong"][0]["truth"] in ("good", "bad") and data["most_wrong"][0]["text"]
    page = (here / "run" / "report.html").read_text("utf-8")
    assert "Texts it got most wrong" in page and "The commonest tokens" in page and "Keep the first 9" in page
    assert main(["evaluate", "run", "--examples", "reviews.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] > 5
    assert main(["predict", "run", "--examples", "reviews.csv", "--out", "scores.parquet"]) == 0
    assert pl.read_parquet("scores.parquet").columns == ["row", "prediction", "probability"]
    assert main(["report", "run"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*FIT, "--events", "log.parquet"], "leave out events"),
        ([one for one in FIT if one not in ("--text", "review")], "Nothing says what is to be read"),
        ([*FIT, "--text", "reviw"], "did you mean 'review'"),
        ([*FIT, "--tokenizer", "no/such"], "no pretrained encoder 'no/such'"),
        ([*FIT, "--history", "windows"], "history='windows'"),
        ([*FIT, "--split", "time"], "no column 'cutoff'"),
        ([*FIT, "--backbone", "pretrained"], "needs a name or a folder"),
        (
            ["fit", "tag", "--events", "shop.parquet", "--target", "kind", "--words", "action", "--out", "r"],
            "words= is for",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(here, words, said):
    shop()[0].write_parquet("shop.parquet")
    result = CliRunner().invoke(app, words)
    text = " ".join((result.output + str(result.exception)).split())
    assert result.exit_code != 0 and said in text, text


def test_a_model_of_texts_asks_for_its_table(fitted, capsys):
    assert main(["predict", "run", "--out", "s.csv"]) != 0
    assert "give examples (--examples)" in capsys.readouterr().err
    assert main(["evaluate", "run"]) != 0
    assert "--examples" in capsys.readouterr().err


def test_hard_texts_are_scored_one_by_one(fitted):
    hard = ["", " ", "\0", "😀", "a" * 1_000_000, "<b>", "中文", 'quote " comma ,']
    pl.DataFrame({"review": hard}).write_parquet("hard.parquet")
    assert main(["predict", "run", "--examples", "hard.parquet", "--out", "s.parquet"]) == 0
    assert pl.read_parquet("s.parquet").height == len(hard)
    pl.DataFrame({"review": [1, 2]}).write_parquet("numbers.parquet")
    assert main(["predict", "run", "--examples", "numbers.parquet", "--out", "s.parquet"]) == 0


def test_a_fit_says_what_gives_the_target_away(here, capsys):
    table = reviews(90).drop("stars")
    told = table.with_columns(
        review=pl.col("review") + pl.when(pl.col("mood") == "good").then(pl.lit(" zq")).otherwise(pl.lit(""))
    )
    told.write_csv("told.csv")
    assert main(["told.csv" if one == "reviews.csv" else "told" if one == "run" else one for one in FIT]) == 0
    assert "suspected leak" in (said := capsys.readouterr().err) and "zq" in said
    leaks = json.loads((here / "told" / "data.json").read_text("utf-8"))["leaks"]
    assert any("zq" in leak["sentence"] for leak in leaks)
    assert "zq" in (here / "told" / "report.html").read_text("utf-8")
