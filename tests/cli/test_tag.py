"""From a log of answers, and from a file of tagged text, to a run folder, through the commands a person would type."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.cli import main
from habitus.cli.options import Run
from habitus.cli.tag import with_text_defaults

CONFIG = "[backbone]\nname = 'gru'\nhidden_size = 8\n[training]\nepochs = 1\nthreads = 1\n"
SENTENCE = "play\tO\njazz\tB-genre\nnow\tO\n\nplay\tO\nBlue\tB-album\nTrain\tI-album\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a log of answers, some tagged text, a config, and a run."""
    folder = tmp_path_factory.mktemp("tag")
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(60), 12)
    pl.DataFrame(
        {
            "user_id": [f"u{k}" for k in who],
            "timestamp": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=k) for k in range(len(who))],
            "skill": rng.choice(["add", "divide"], len(who)),
            "correct": rng.integers(0, 2, len(who)),
            "part": np.array(["train", "train", "dev", "test"])[who % 4],
        }
    ).write_parquet(folder / "answers.parquet")
    (folder / "slots.conll").write_text("\n".join([SENTENCE] * 20), "utf-8")
    (folder / "tiny.toml").write_text(CONFIG, "utf-8")
    assert fit(folder, folder / "run", "--label-history", "--split-column", "part") == 0
    return folder


def fit(folder, out, *more, events="answers.parquet", target="correct", command="fit"):
    named = ["--target", target] if target else []
    return main(
        [command, "tag", "--events", str(folder / events), *named, "--config", str(folder / "tiny.toml"), "--quiet",
         "--out", str(out), *more]
    )  # fmt: skip


def test_a_run_leaves_its_folder(place):
    names = {path.name for path in (place / "run").iterdir()}
    assert {"model", "metrics.json", "history.json", "data.json", "report.html"} <= names
    metrics = json.loads((place / "run" / "metrics.json").read_text())
    assert metrics["primary"] == "auc" and metrics["n"] == 15 and "running rates" in next(iter(metrics["baselines"]))
    data = json.loads((place / "run" / "data.json").read_text())
    assert data["parts"] == {"test": 15, "train": 30, "validation": 15} and data["facts"]["n_events"] == 720
    assert "Accuracy by place" in (place / "run" / "report.html").read_text()


def test_it_evaluates_on_its_own_log_and_predicts(place, capsys):
    assert main(["evaluate", str(place / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 15 and found["unit"] == "sequences"
    log = pl.read_parquet(place / "answers.parquet")
    log.drop("correct", "part").write_parquet(place / "new.parquet")
    for events in ("answers", "new"):
        out = place / f"{events}.tags.parquet"
        assert (
            main(["predict", str(place / "run"), "--events", str(place / f"{events}.parquet"), "--out", str(out)]) == 0
        )
        tags = pl.read_parquet(out)
        assert tags["user_id"].to_list() == log["user_id"].to_list()
        assert set(tags["prediction"]) <= {"0", "1"} and tags["probability"].is_between(0, 1).all()


def test_text_is_tagged_with_all_of_a_sentence_in_sight(place, capsys):
    out = place / "slots"
    assert fit(place, out, "--crf", "--backbone", "gru", "--json", events="slots.conll", target=None) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["target"] == "tag" and "f1" in said["metrics"]
    config = json.loads((out / "model" / "model.json").read_text())
    assert config["task"]["options"]["direction"] == "both" and config["backbone"]["bidirectional"]


def test_backbones_are_compared(place, capsys):
    out = place / "compared"
    assert fit(place, out, "--backbones", "gru,rnn", "--json", command="compare") == 0
    document = json.loads(capsys.readouterr().out)
    assert {"GRU", "RNN"} <= set(document["models"]) and document["primary"] == "auc" and document["verdict"]
    assert main(["report", str(out)]) == 0


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--target", "right"], 1, "no column 'right'"),
        (["--target", "correct", "--label-history", "--direction", "both"], 2, "use one of the two"),
        (["--target", "correct", "--split-column", "skill"], 1, "says several parts of the entity"),
        ([], 2, "No target is given"),
    ],
)
def test_misuse_is_said_in_a_sentence(place, capsys, more, code, said):
    assert fit(place, place / "wrong", *more, target=None) == code
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_text_defaults_give_way(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(SENTENCE, "utf-8")
    config = tmp_path / "own.toml"
    config.write_text('[task]\nscheme = "plain"\n', "utf-8")
    run = Run(typed=[], given={"target": None}, flags={}, out=tmp_path / "run")
    left = with_text_defaults(str(path), replace(run, config=config))
    assert left.given == {"target": "tag", "direction": "both"}
    given = {"target": "x", "set": ["task.direction=past"]}
    assert with_text_defaults(str(path), replace(run, given=given)).given == {**given, "scheme": "bio"}
    assert with_text_defaults("log.parquet", run) == run
