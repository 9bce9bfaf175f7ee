"""From a table of questions to a run folder, through the commands a person would type."""

import json

import polars as pl
import pytest

from habitus.cli import main
from tests.squad import WORDS, questions
from tests.tiny_bert import tiny_bert

CONFIG = "[backbone]\nname = 'gru'\nhidden_size = 8\nbidirectional = true\n[training]\nepochs = 1\nthreads = 1\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table of questions, some of which cannot be used, and a run."""
    folder = tmp_path_factory.mktemp("answer")
    table = questions(80)
    wrong = pl.DataFrame({"question": ["who ?", None], "context": ["ann .", "bo ."], "answer": ["cy", "bo"]})
    pl.concat([table, wrong]).write_csv(folder / "squad.csv")
    questions(10, seed=1).drop("answer").write_parquet(folder / "asked.parquet")
    (folder / "tiny.toml").write_text(CONFIG, "utf-8")
    assert fit(folder, folder / "run", "--config", str(folder / "tiny.toml")) == 0
    return folder


def fit(folder, out, *more, examples="squad.csv"):
    return main(["fit", "answer", "--text", "question,context", "--target", "answer", "--examples",
                 str(folder / examples), "--quiet", "--out", str(out), *more])  # fmt: skip


def test_a_run_leaves_its_folder(place):
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert metrics["primary"] == "token_f1" and set(metrics["baselines"]) == {
        "commonest answer in the passage", "sentence with most shared words", "sliding window",
    }  # fmt: skip
    assert "no_answer_exact" in metrics["metrics"] and metrics["metrics"]["token_f1"]["low"] is not None
    data = json.loads((place / "run" / "data.json").read_text())
    assert data["facts"]["n_questions"] == 80 and data["rejects"]["n_rejected"] == 2
    rejects = pl.read_csv(place / "run" / "rejects.csv")
    assert rejects["row"].to_list() == [82, 81] and set(rejects["field"]) == {"question", "answer"}
    page = (place / "run" / "report.html").read_text()
    assert "By the first word of the question" in page and "token F1" in page


def test_it_evaluates_on_its_own_table_and_predicts(place, capsys):
    assert main(["evaluate", str(place / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert found["n"] == metrics["n"] and found["metrics"] == metrics["metrics"]
    assert any(note.startswith("2 of 82 rows were rejected") for note in found["notes"])
    given = ["predict", str(place / "run"), "--examples", str(place / "asked.parquet")]
    assert main([*given, "--out", str(place / "answers.csv")]) == 0
    answers = pl.read_csv(place / "answers.csv")
    assert answers.columns == ["row", "question", "answer", "score", "start", "end"] and answers.height == 10
    assert main([*given, "--k", "3", "--out", str(place / "more.parquet")]) == 0
    more = pl.read_parquet(place / "more.parquet")
    assert more["rank"].to_list() == [1, 2, 3] * 10 and more["score"].is_between(0, 1).all()
    assert main(["report", str(place / "run")]) == 0


def test_a_pretrained_encoder_with_an_adapter(place, tmp_path, capsys):
    tiny_bert(tmp_path / "bert", words=WORDS, positions=80)
    more = ["--max-length", "60", "--max-question-length", "10", "--overlap", "10", "--epochs", "1", "--json"]
    assert fit(place, tmp_path / "run", "--pretrained", str(tmp_path / "bert"), "--adapter", "lora", *more) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "answer"


def test_compare_says_who_is_best(place, tmp_path, capsys):
    given = ["--examples", str(place / "squad.csv"), "--config", str(place / "tiny.toml"), "--out", str(tmp_path)]
    assert main(["compare", "answer", *given, "--backbones", "gru,rnn", "--quiet", "--json"]) == 0
    assert {"GRU", "RNN", "sliding window"} <= json.loads(capsys.readouterr().out)["models"].keys()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--text", "question"], "name the column of the question and that of the passage"),
        (["--text", "question,passage"], "no column 'passage'"),
        (["--target", "context"], "cannot be the answer too"),
        (["--max-length", "80"], "must be more than overlap=128"),
        (["--test-examples", "nowhere.csv"], "nowhere.csv"),
        (["--backbone", "gru", "--tokenizer", "subwords"], "tokenizer='subwords' is not known"),
        (["--set", "task.treshold=1"], "did you mean 'threshold'"),
    ],
)
def test_mistakes_get_a_sentence(place, tmp_path, capsys, more, said):
    assert fit(place, tmp_path / "run", *more) in (1, 2)
    error = capsys.readouterr().err
    assert said in " ".join(error.split()) and "Traceback" not in error


def test_k_is_for_answers_alone(place, tmp_path, capsys):
    assert main(["predict", str(place / "run"), "--out", str(tmp_path / "a.csv")]) == 2
    assert "--examples is missing" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_tune_fits_the_best(place, tmp_path):
    given = [
        "--examples",
        str(place / "squad.csv"),
        "--config",
        str(place / "tiny.toml"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(["tune", "answer", *given, "--trials", "2", "--quiet"]) == 0
    assert (tmp_path / "run" / "model").is_dir() and (tmp_path / "run" / "best.toml").is_file()
