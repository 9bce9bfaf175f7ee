"""`habitus embed`, `search` and `duplicates`: what they print and write, and what they refuse."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import habitus as hb
from habitus.cli import app, main
from habitus.cli.embed import with_sizes
from habitus.cli.options import Run
from habitus.training import Training

QUICK = ["--epochs", "1", "--quiet", "--set", "backbone.hidden_size=16", "--set", "backbone.n_layers=1"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("embed"), np.random.default_rng(0)
    words = np.array(["red", "blue", "green", "cat", "dog", "fish", "runs", "sleeps", "eats"])
    one = [" ".join(rng.choice(words, rng.integers(2, 6))) + f" {n}" for n in range(80)]
    pl.DataFrame({"one": one, "two": one[::-1], "score": rng.random(80)}).write_csv(folder / "pairs.csv")
    pl.DataFrame({"one": [*one[:9], None], "answer": [f"a{n}" for n in range(10)]}).write_csv(folder / "faq.csv")
    fit = ["fit", "embed", "--text", "one,two", "--target", "score", "--examples", str(folder / "pairs.csv")]
    result = CliRunner().invoke(
        app, [*fit, "--out", str(folder / "run"), "--backbone", "gru", "--sizes", "8,4", *QUICK]
    )
    assert result.exit_code == 0, result.output
    return folder


def said(capsys, *words):
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, " ".join(captured.err.split())


def test_the_run_holds_a_report_with_the_vectors_in_two_dimensions(here):
    page = (here / "run" / "report.html").read_text("utf-8")
    assert "The vectors in two dimensions" in page and "Where it goes most wrong" in page
    metrics = json.loads((here / "run" / "metrics.json").read_text("utf-8"))
    assert metrics["primary"] == "spearman" and metrics["unit"] == "pairs"


def test_vectors_are_written_one_a_row(here, capsys):
    faq, out = here / "faq.csv", here / "vectors.csv"
    code, printed, _ = said(
        capsys, "embed", here / "run", "--text", "one", "--examples", faq, "--size", 4, "--out", out
    )
    assert code == 0 and "10 vectors of 4 numbers" in printed
    found = pl.read_csv(out)
    assert found.columns == ["row", *(f"vector_{d}" for d in range(4))] and found["row"].to_list() == list(range(1, 11))
    np.testing.assert_allclose((found.drop("row").to_numpy() ** 2).sum(1), 1, atol=1e-4)


def test_a_search_prints_what_the_index_finds(here, capsys):
    query = pl.read_csv(here / "faq.csv")["one"][3]
    asked = ["search", here / "run", "--corpus", here / "faq.csv", "--query", query, "--k", 2]
    code, printed, told = said(capsys, *asked, "--json")
    hits = json.loads(printed)["hits"]
    assert code == 0 and hits[0]["one"] == query and hits[0]["row"] == 4 and len(hits) == 2
    assert "1 because 'one' is missing" in told
    assert query in said(capsys, *asked)[1]


def test_an_index_answers_as_the_corpus_does(here, capsys):
    run, faq, query = here / "run", here / "faq.csv", pl.read_csv(here / "faq.csv")["one"][3]
    assert said(capsys, "search", run, "--corpus", faq, "--save-index", here / "index")[0] == 0
    asked = ["--query", query, "--answer", "answer", "--threshold", 0.999, "--json"]
    _, printed, _ = said(capsys, "search", run, "--index", here / "index", *asked)
    assert json.loads(printed) == json.loads(said(capsys, "search", run, "--corpus", faq, *asked)[1])
    assert json.loads(printed)["hits"][0]["answer"] == "a3"
    _, printed, _ = said(capsys, "search", run, "--index", here / "index", *asked[:-2], 1.0001)
    assert "(not known)" in printed


def test_duplicates_are_written_once(here, capsys):
    twice = here / "twice.csv"
    pl.concat([pl.read_csv(here / "faq.csv")[:4]] * 2).write_csv(twice)
    out = here / "duplicates.parquet"
    code, printed, _ = said(capsys, "duplicates", here / "run", "--corpus", twice, "--threshold", 0.99999, "--out", out)
    found = pl.read_parquet(out)
    assert code == 0 and f"{found.height} pairs of 8 texts" in printed
    assert {(n, n + 4) for n in range(1, 5)} <= set(found.select("row", "other_row").iter_rows())


def test_a_classifier_gives_the_states_that_its_answer_is_made_of(here, capsys):
    frame = pl.read_csv(here / "pairs.csv").with_columns(long=pl.col("one").str.len_chars() > 12)
    model = hb.SequenceModel(
        hb.Classify("long"),
        hb.GRU(hidden_size=8),
        data=hb.Data(text="one"),
        options=hb.Options(baselines=()),
        training=Training(epochs=1, threads=1, tracker=None),
    ).fit(None, frame)
    model.save(here / "classifier")
    pairs, out = here / "pairs.csv", here / "states.parquet"
    assert said(capsys, "embed", here / "classifier", "--examples", pairs, "--out", out)[0] == 0
    found = pl.read_parquet(out)
    np.testing.assert_allclose(found.drop("row").to_numpy(), model.embed(None, frame), atol=1e-5)
    code, _, told = said(capsys, "search", here / "classifier", "--corpus", pairs, "--query", "x")
    assert code == 2 and "search takes one of habitus fit embed" in told


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["search", "RUN", "--query", "x"], "Give either the table of texts"),
        (["search", "RUN", "--corpus", "FAQ"], "Nothing is asked"),
        (["search", "RUN", "--corpus", "FAQ", "--query", "x", "--threshold", "0.5"], "name their column with --answer"),
        (["search", "RUN", "--corpus", "FAQ", "--query", "x", "--text", "oen"], "did you mean 'one'"),
        (["embed", "RUN", "--out", "x.csv"], "give --examples"),
        (["embed", "RUN", "--examples", "FAQ", "--out", "x.txt"], "does not say in which format"),
        (["fit", "embed", "--out", "x"], "Give either a table of texts"),
        (["fit", "embed", "--text", "one", "--examples", "FAQ", "--out", "x", "--sizes", "8,b"], "are no widths"),
    ],
)
def test_mistakes_are_sentences(here, capsys, words, sentence):
    names = {"RUN": here / "run", "FAQ": here / "faq.csv"}
    code, _, told = said(capsys, *(names.get(word, word) for word in words))
    assert code in (1, 2) and sentence in told and "Traceback" not in told


def test_sizes_are_numbers():
    assert with_sizes(Run([], {"sizes": "64, 8"}, {}, None)).given["sizes"] == [64, 8]
