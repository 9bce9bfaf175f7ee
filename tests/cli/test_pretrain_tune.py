"""`pretrain`, `fit --from`, `compare --labels` and `tune` from end to end, on a log that takes seconds."""

import json

import pytest
from typer.testing import CliRunner

from habitus.cli import app, main
from habitus.data.simulate import simulate_installs

LOG = simulate_installs(120, seed=3)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOG.events.write_parquet("installs.parquet")
    LOG.labels.write_parquet("labels.parquet")
    return tmp_path


def run(*words):
    result = CliRunner().invoke(app, [*words, "--quiet"])
    assert result.exit_code == 0, result.output
    return result.stdout


DATA = ("--events", "installs.parquet", "--examples", "labels.parquet")
RISK = (*DATA, "--target", "risk", "--epochs", "1")
SMALL = ("--backbone", "gru", "--set", "backbone.hidden_size=8")


def test_a_fit_starts_from_a_pretrained_bundle_and_says_so(here):
    told = json.loads(run("pretrain", *DATA, "--epochs", "1", *SMALL, "--out", "start", "--json"))
    assert told["objective"] == "next" and told["n_entities"] <= 120
    out = run("fit", "classify", *RISK, "--from", "start", "--taken-rate", "0", "--out", "risk", "--json")
    assert any(told["hash"][:12] in note for note in json.loads(out)["notes"])
    config = json.loads((here / "risk" / "model" / "model.json").read_text())
    assert config["start"]["hash"] == told["hash"] and config["backbone"]["name"] == "gru"
    assert told["hash"][:12] in (here / "risk" / "report.html").read_text()


def test_a_backbone_that_is_not_the_bundles_is_refused(here, capsys):
    run("pretrain", *DATA, "--epochs", "1", *SMALL, "--out", "start")
    assert main(["predict", "start", "--events", "installs.parquet", "--out", "scores.csv"]) == 2
    assert "--from DIR" in capsys.readouterr().err
    code = main(["fit", "classify", *RISK, "--from", "start", "--backbone", "lstm", "--out", "x", "--quiet"])
    assert code == 2 and "pretrain with it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_label_curve_is_printed_and_written(here):
    run("pretrain", *DATA, "--epochs", "1", *SMALL, "--out", "start")
    words = ("--backbones", "gru", "--set", "backbone.name=gru", "--set", "backbone.hidden_size=8")
    out = run(
        "compare", "classify", *RISK, *words, "--from", "start", "--labels", "50%,100%", "--seeds", "1", "--out", "few"
    )
    assert "pretrained - gru" in out and "50 %" in out
    assert len(json.loads((here / "few" / "few_labels.json").read_text())["shares"]) == 2
    assert "Fewer labels" in (here / "few" / "report.html").read_text()


@pytest.mark.slow
def test_a_search_leaves_a_config_and_the_best_model(here):
    (here / "space.toml").write_text("[training]\nlearning_rate = { low = 1e-3, high = 1e-1, log = true }\n")
    words = ("tune", "classify", *RISK, *SMALL, "--space", "space.toml", "--out", "tuned")
    run(*words, "--trials", "1")
    run(*words, "--trials", "2", "--resume")
    assert json.loads((here / "tuned" / "trials.json").read_text())["n"] == 2
    best = (here / "tuned" / "best.toml").read_text()
    assert "learning_rate" in best and "hidden_size = 8" in best
    found = json.loads((here / "tuned" / "metrics.json").read_text())
    run("fit", "classify", "--config", "tuned/best.toml", *DATA, "--out", "again")
    assert json.loads((here / "again" / "metrics.json").read_text())["metrics"] == found["metrics"]


@pytest.mark.slow
def test_next_events_are_tuned_too(here):
    (here / "space.toml").write_text("[backbone]\nhidden_size = [4, 8]\n")
    words = ("--events", "installs.parquet", "--item", "category", "--epochs", "1", "--backbone", "gru")
    run("tune", "next-event", *words, "--space", "space.toml", "--trials", "2", "--out", "tuned")
    assert (here / "tuned" / "tune.html").is_file() and (here / "tuned" / "report.html").is_file()
