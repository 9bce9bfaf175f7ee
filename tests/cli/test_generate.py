"""`habitus fit generate` and what follows it, on a few pairs."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.cli import app
from habitus.cli.scoring import write_scores
from habitus.errors import ConfigError

SMALL = ["--quiet", "--epochs", "1", "--tokens", "words", "--set", "backbone.hidden_size=16"]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    rows = [rng.choice(list("abcdef"), 4).tolist() for _ in range(120)]
    table = pl.DataFrame({"from": [" ".join(row) for row in rows], "to": [" ".join(row[::-1]) for row in rows]})
    pl.concat([table, pl.DataFrame({"from": ["x"], "to": [""]})]).write_csv(path, separator="\t")
    return path


@pytest.fixture(scope="module")
def fitted(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    found = run(
        "fit", "generate", "--pairs", pairs, "--source", "from", "--target", "to", "--out", out, "--json", *SMALL
    )
    assert found.exit_code == 0, found.output
    return out, json.loads(found.stdout), found.stderr


def test_fit_prints_metrics_rivals_and_the_signature(fitted):
    _, document, said = fitted
    assert set(document["metrics"]) == {"bleu", "chrf", "exact", "token_accuracy"}
    assert set(document["baselines"]) == {"copy of the source", "translation memory"}
    assert "signature nrefs:1" in document["protocol"]["BLEU"] and "1 of 121 rows were rejected" in said


def test_the_run_folder_holds_a_report_with_examples_and_attention(fitted):
    out, *_ = fitted
    page = (out / "report.html").read_text("utf-8")
    assert "Examples" in page and "Where the decoder looked" in page and "translation memory" in page
    assert (out / "rejects.csv").exists()


def test_predict_adds_the_column(fitted, tmp_path):
    out, *_ = fitted
    pl.DataFrame({"id": [1, 2], "from": ["a b", "c d"]}).write_parquet(tmp_path / "new.parquet")
    found = run("predict", out, "--pairs", tmp_path / "new.parquet", "--out", tmp_path / "written.csv")
    assert found.exit_code == 0, found.output
    assert pl.read_csv(tmp_path / "written.csv").columns == ["id", "from", "generated"]


def test_lists_are_refused_in_a_csv(tmp_path):
    with pytest.raises(ConfigError, match="'generated' holds lists"):
        write_scores(pl.DataFrame({"generated": [["a", "b"]]}), tmp_path / "written.csv")


def test_evaluate_without_pairs_judges_on_what_was_held_out(fitted):
    out, document, _ = fitted
    found = run("evaluate", out, "--json")
    assert found.exit_code == 0, found.output
    again = json.loads(found.stdout)
    assert again["n"] == document["n"] and again["metrics"] == document["metrics"]


@pytest.mark.slow
def test_compare_trains_each_backbone_and_says_who_is_best(pairs, tmp_path):
    found = run(
        "compare", "generate", "--pairs", pairs, "--source", "from", "--target", "to", "--backbones", "gru,transformer",
        "--out", tmp_path / "both", "--quiet", "--epochs", "1", "--tokens", "words",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "Transformer encoder-decoder" in found.output and "GRU encoder-decoder" in found.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "fom"], "did you mean 'from'"),
        (["--backbone", "cnn"], "no backbone 'cnn'"),
        (["--set", "backbone.hidden_size=15", "--set", "backbone.name=lstm"], "cannot be halved"),
        (["--bleu-tokenizer", "moses"], "bleu_tokenizer='moses'"),
        (["--tokens", "bpe", "--vocabulary-size", "100"], "leaves no room for subwords"),
        (["--validation", "0.9", "--test", "0.2"], "nothing to train on"),
    ],
)
def test_what_cannot_be_right_gets_a_sentence(pairs, tmp_path, words, said):
    given = {"--source": "from", "--target": "to"}
    base = [word for pair in given.items() for word in pair]
    found = run(
        "fit", "generate", "--pairs", pairs, *base, "--out", tmp_path / "run", "--quiet", "--epochs", "1", *words
    )
    assert found.exit_code != 0
    assert said in f"{found.output} {found.exception}"


def test_evaluate_without_pairs_judges_on_the_file_of_the_split(pairs, tmp_path, monkeypatch):
    table = pl.read_csv(pairs, separator="\t")
    table[:90].write_csv(tmp_path / "train.tsv", separator="\t")
    table[90:120].write_csv(tmp_path / "test.tsv", separator="\t")
    monkeypatch.chdir(tmp_path)  # the path is relative, and found again from elsewhere
    words = ["--pairs", "train.tsv", "--test-pairs", "test.tsv", "--source", "from", "--target", "to", "--out", "run"]
    first = run("fit", "generate", *words, "--json", *SMALL)
    assert first.exit_code == 0, first.output
    monkeypatch.chdir(tmp_path.parent)
    again = run("evaluate", tmp_path / "run", "--json")
    assert again.exit_code == 0, again.output
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert (one["n"], one["metrics"]["bleu"]) == (two["n"], two["metrics"]["bleu"]) and one["n"] == 30
