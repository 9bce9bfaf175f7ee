"""Next-event models through the commands a person would type: fit, evaluate, recommend, predict, compare, report."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import types
import typing
from pathlib import Path

import polars as pl
import pytest

from habitus.cli import main
from habitus.cli.options import NEXT_SPLITTING, NEXT_TASK
from habitus.cli.settings import build_plan, read_settings, with_preset
from habitus.data.next_split import NextSplit
from habitus.data.simulate import simulate_installs
from habitus.errors import ConfigError

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

CONFIG = """
[backbone]
name = "transformer"
hidden_size = 16
n_layers = 1
n_heads = 2
[data]
max_length = 20
[training]
epochs = 1
threads = 1
"""


class Workplace:
    """A folder with a simulated log and a run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.events = str(folder / "log" / "installs.parquet")
        self.config = str(folder / "tiny.toml")

    def fit(self, *more: str, events: str = "") -> list[str]:
        common = ["fit", "next-event", "--events", events or self.events, "--item", "item_id", "--quiet"]
        return [*common, "--config", self.config, *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workplace:
    """Simulate and fit once for all tests here; the log is named by a relative path."""
    place = Workplace(tmp_path_factory.mktemp("place"))
    Path(place.config).write_text(CONFIG, encoding="utf-8")
    (place.folder / "log").mkdir()
    log = simulate_installs(100, seed=0)
    log.events.write_parquet(place.events)
    log.labels.write_parquet(place.folder / "labels.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        fit = place.fit("--split", "temporal", "--also", "category", "--seed", "1", events="log/installs.parquet")
        assert main([*fit, "--out", "run"]) == 0
    return place


@pytest.fixture
def copied(place, tmp_path) -> Path:
    """The run alone, to be changed."""
    return Path(shutil.copytree(place.run, tmp_path / "copied"))


def answer(capsys, arguments: list[str]) -> dict:
    """Run a command with --json and return what it printed, strictly parsed."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def refused(capsys, arguments: list[str], code: int) -> str:
    """Run a command that fails and return the one sentence that it says."""
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def strict(path: Path) -> dict:
    return json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_fit_leaves_a_whole_run(place):
    names = ("model/manifest.json", "metrics.json", "history.json", "data.json", "report.html")
    assert all((place.run / name).is_file() for name in names) and not (place.run / "checkpoint").exists()
    metrics, data = strict(place.run / "metrics.json"), strict(place.run / "data.json")
    assert (metrics["task"], metrics["target"], metrics["model"]) == ("next-event", "item_id", "Transformer")
    assert list(metrics["targets"]) == ["last", "successive"] and len(metrics["baselines"]) == 6
    assert metrics["run"]["seed"] == 1 and "habitus fit next-event" in metrics["run"]["command"]
    log = pl.read_parquet(place.events)
    assert (data["events"], data["entities"]) == (log.height, log["user_id"].n_unique())
    lengths = log.group_by("user_id").len()["len"].cast(pl.Int64)
    assert data["lengths"]["n_events_unread"] == (lengths - 20).clip(lower_bound=0).sum()
    assert data["lengths"]["n_entities_cut"] == (lengths > 20).sum()
    train, test = data["split"]["parts"]["train"], data["split"]["parts"]["test: successive"]
    assert train["windows"] >= train["entities"] and test["targets"] == metrics["targets"]["successive"]["n"]


def test_hits_by_popularity_add_up_to_the_hit_rate(place):
    metrics = strict(place.run / "metrics.json")
    bands = metrics["by_popularity"]["bands"]
    assert sum(band["n"] for band in bands) == metrics["by_popularity"]["n"] == metrics["n"]
    for name, judged in {"Transformer": metrics["metrics"], **metrics["baselines"]}.items():
        hits = sum(band["n"] * band["hits"][name]["value"] for band in bands)
        assert hits / metrics["n"] == pytest.approx(judged["hr@10"]["value"])


def test_timelines_end_before_the_event_to_predict(place):
    found = strict(place.run / "metrics.json")["timelines"]
    assert len(found) == 4 and all(len(one["recommended"]) == 10 for one in found)
    for one in found:
        times = [event["time"] for event in [*one["events"], one["next"]]]
        assert times == sorted(times)
        listed = [item["item"] for item in one["recommended"]]
        assert (one["rank"] is not None and one["rank"] <= 10) == (one["next"]["item"] in listed)


def test_evaluate_finds_the_log_again_from_anywhere(place, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = answer(capsys, ["evaluate", str(place.run), "--split", "temporal"])
    metrics = strict(place.run / "metrics.json")
    assert document["metrics"] == metrics["metrics"] and document["n"] == metrics["n"] and not document["notes"]
    assert {"ndcg@10", "hr@10"} <= set(document["metrics"]) and document["task"] == "next-event"


def test_evaluate_says_that_another_log_is_another_one(place, capsys, tmp_path):
    pl.read_parquet(place.events)[:-5].write_parquet(tmp_path / "other.parquet")
    document = answer(capsys, ["evaluate", str(place.run), "--events", str(tmp_path / "other.parquet")])
    assert any("not the log" in note for note in document["notes"])


def test_every_table_states_its_protocol_rivals_and_differences(place, capsys):
    assert main(["evaluate", str(place.run)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("target 'last': n =", "target 'successive': n =", "order-n n-gram", "model - most popular"):
        assert words in out
    for words in (
        "Standard errors: ndcg@10",
        "ties: ",
        "query time given: no",
        "filter_seen: ",
        "users, 95 % intervals",
    ):
        assert words in out
    assert "its best rival" in out and "mae_difference_days" in out


def test_recommend_writes_ranked_items(place, tmp_path, capsys):
    out = tmp_path / "new" / "recs.parquet"
    assert main(["recommend", str(place.run), "--events", place.events, "--k", "3", "--out", str(out)]) == 0
    found = pl.read_parquet(out)
    assert found.columns == ["user_id", "item_id", "score", "rank"] and found.height == 300
    assert found["rank"].to_list() == [1, 2, 3] * 100
    assert f"300 recommendations to 100 users in {out}" in capsys.readouterr().out


def test_recommend_leaves_out_what_was_seen(place, tmp_path):
    log = pl.read_parquet(place.events)
    shared = {}
    for flag in ("--filter-seen", "--no-filter-seen"):
        out = tmp_path / f"{flag}.csv"
        assert main(["recommend", str(place.run), "--events", place.events, flag, "--out", str(out)]) == 0
        shared[flag] = pl.read_csv(out).join(log, on=["user_id", "item_id"], how="semi").height
    assert shared["--filter-seen"] == 0 < shared["--no-filter-seen"]


@pytest.mark.parametrize("name", ["items.txt", "items.csv"])
def test_recommend_among_candidates_counts_those_it_does_not_know(place, tmp_path, capsys, name):
    known = pl.read_parquet(place.events)["item_id"].value_counts(sort=True)["item_id"][:4].to_list()
    lines = [*known, "nothing known"]
    (tmp_path / name).write_text("\n".join(["item"] * name.endswith("csv") + lines), encoding="utf-8")
    out = tmp_path / "recs.arrow"
    given = ["--candidates", str(tmp_path / name), "--no-filter-seen", "--out", str(out)]
    assert main(["recommend", str(place.run), "--events", place.events, *given]) == 0
    assert set(pl.read_ipc(out)["item_id"]) == set(known)
    assert "1 of 5 candidates are items that training never saw" in capsys.readouterr().err


def test_predict_dispatches_on_the_task(place, tmp_path):
    out = tmp_path / "scores.parquet"
    assert main(["predict", str(place.run), "--events", place.events, "--out", str(out)]) == 0
    scores = pl.read_parquet(out)
    assert scores.columns == ["user_id", "prediction", "probability", "days", "prediction_category"]
    assert scores.height == 100 and scores["probability"].is_between(0, 1).all()


def test_report_is_written_again(place, copied, capsys):
    (copied / "report.html").unlink()
    assert main(["report", str(copied)]) == 0
    assert (copied / "report.html").read_bytes() == (place.run / "report.html").read_bytes()


def test_compare_judges_all_on_the_same_questions(place, tmp_path, capsys):
    compare = ["compare", "next-event", "--events", place.events, "--item", "category", "--split", "leave-one-out"]
    more = ["--config", place.config, "--quiet", "--set", "options.filter_seen=no"]
    document = answer(capsys, [*compare, *more, "--out", str(tmp_path / "run")])
    assert list(document["models"])[:2] == ["Transformer", "GRU"] and len(document["models"]) == 8
    assert {"metrics", "seconds", "parameters"} <= set(document["models"]["GRU"])
    assert document["models"]["GRU"]["seconds"] > 0 and document["models"]["first-order Markov"]["seconds"] > 0
    assert set(document["differences"]) == {f"Transformer - {name}" for name in list(document["models"])[1:]}
    for name, one in list(document["models"].items())[1:]:
        values = [of["metrics"]["ndcg@10"]["value"] for of in (document["models"]["Transformer"], one)]
        gap = document["differences"][f"Transformer - {name}"]["ndcg@10"]["value"]
        assert gap == pytest.approx(values[0] - values[1])
    assert document["verdict"] == strict(tmp_path / "run" / "compare.json")["verdict"]
    assert document["verdict"].startswith("A tie") or "wins" in document["verdict"]
    assert document["n"] == 100 and (tmp_path / "run" / "gru" / "model" / "manifest.json").is_file()
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert document["verdict"] in page and "leave-one-out" in page and "Quality against time" in page


def test_a_run_without_a_test_part_says_so(place, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(place.fit("--split", "none", "--out", out)) == 0
    assert "nothing is left to judge on" in capsys.readouterr().out
    assert not (tmp_path / "run" / "metrics.json").exists() and (tmp_path / "run" / "data.json").is_file()
    assert "holds nothing out" in refused(capsys, ["evaluate", out], 2)


def test_a_model_that_is_told_takes_a_moment(place, tmp_path, capsys):
    run, out = str(tmp_path / "run"), tmp_path / "recs.csv"
    assert main(place.fit("--query-time", "0.5", "--out", run)) == 0
    assert "last, time told" in strict(tmp_path / "run" / "metrics.json")["targets"]
    given = ["--events", place.events, "--k", "1", "--out", str(out)]
    assert main(["recommend", run, *given, "--at", "2025-01-31T10:00Z"]) == 0
    assert pl.read_csv(out).height == 100
    capsys.readouterr()
    assert "has no time zone" in refused(capsys, ["recommend", run, *given, "--at", "2025-01-31T10:00"], 2)
    assert "is no time" in refused(capsys, ["recommend", run, *given, "--at", "soon"], 2)


CASES = [
    ("fit next-event --events {log} --item itm_id --out {d}/x", 1, "did you mean 'item_id'"),
    ("fit next-event --events {log} --item size_mb --field size_mb=number --out {d}/x", 1, "size_mb=category"),
    ("fit next-event --events {log} --also item_id --out {d}/x", 2, "names the item 'item_id' itself"),
    ("fit next-event --events {log} --preset fats --out {d}/x", 2, "Invalid value for '--preset'"),
    ("fit next-event --events {log} --split entity --out {d}/x", 2, "Invalid value for '--split'"),
    (
        "fit next-event --events {log} --backbone lstn --out {d}/x",
        2,
        "There is no backbone 'lstn'; did you mean 'lstm'",
    ),
    ("fit next-event --events {log} --set task.itme=x --out {d}/x", 2, "did you mean 'item'"),
    ("fit next-event --events {log} --set split.test=0.3 --out {d}/x", 2, "Unknown option 'test' in [split]"),
    ("fit next-event --events {log} --set options.calibration=platt --out {d}/x", 2, "Unknown option 'calibration'"),
    ("fit next-event --events {log} --query-time 3 --out {d}/x", 2, "query_time=3.0 is a share"),
    ("fit next-event --events {log} --config {d}/classify.toml --out {d}/x", 2, "has name = 'classify'"),
    ("fit classify --events {log} --examples {log} --config {d}/next.toml --out {d}/x", 2, "has name = 'next-event'"),
    ("fit next-event --events {d}/nothing.parquet --out {d}/x", 1, "nothing.parquet' names no file"),
    ("compare next-event --events {log} --split none --out {d}/x", 2, "compare judges on a test part"),
    ("evaluate {run} --split leave-one-out", 2, "was trained with split='temporal'"),
    ("evaluate {run} --examples {log}", 2, "--examples means nothing to a model of the task 'next-event'"),
    ("predict {run} --events {log} --examples {log} --out {d}/s.csv", 2, "--examples means nothing"),
    ("recommend {run} --events {log} --at 2025-01-31T10:00Z --out {d}/r.csv", 2, "was never told the query time"),
    ("recommend {run} --events {log} --k 0 --out {d}/r.csv", 2, "Invalid value for '--k'"),
    ("recommend {run} --events {log} --out {d}/r.xlsx", 2, "end it in .parquet, .csv or .arrow"),
    ("recommend {run} --events {log} --candidates {d}/empty.txt --out {d}/r.csv", 1, "hold no item"),
    ("recommend {run} --events {log} --candidates {d}/none.csv --out {d}/r.csv", 1, "cannot be read"),
    ("recommend {run} --events {log} --candidates {d}/strange.txt --out {d}/r.csv", 1, "None of the 1 candidates"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), CASES, ids=[case[0][:70] for case in CASES])
def test_bad_input_gets_one_sentence(place, capsys, tmp_path, arguments, code, sentence):
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "strange.txt").write_text("no such app\n")
    (tmp_path / "classify.toml").write_text("[task]\nname = 'classify'\n")
    (tmp_path / "next.toml").write_text("[task]\nname = 'next-event'\n")
    names = {"{log}": place.events, "{run}": str(place.run), "{d}": str(tmp_path)}
    words = arguments.split()
    for name, value in names.items():
        words = [word.replace(name, value) for word in words]
    assert sentence in refused(capsys, words, code)


def test_a_log_that_is_gone_is_asked_for(place, capsys, tmp_path):
    shutil.copy(place.events, tmp_path / "log.parquet")
    run = str(tmp_path / "run")
    assert main(place.fit("--out", run, events=str(tmp_path / "log.parquet"))) == 0
    (tmp_path / "log.parquet").unlink()
    capsys.readouterr()
    said = refused(capsys, ["evaluate", run], 1)
    assert "log.parquet', is gone" in said and "--events" in said
    assert answer(capsys, ["evaluate", run, "--events", place.events])["n"] > 0


def test_a_classifier_is_sent_to_its_own_commands(place, capsys, tmp_path):
    run, labels = str(tmp_path / "run"), str(place.folder / "labels.parquet")
    fit = ["fit", "classify", "--events", place.events, "--examples", labels, "--target", "risk", "--out", run]
    assert main([*fit, "--config", place.config, "--quiet", "--set", "options.baselines=[]"]) == 0
    capsys.readouterr()
    assert "give --events and --examples (--events is missing)" in refused(capsys, ["evaluate", run], 2)
    log = ["--events", place.events]
    assert "--split means nothing" in refused(capsys, ["evaluate", run, *log, "--split", "temporal"], 2)
    out = ["--out", str(tmp_path / "scores.csv")]
    assert "which recommends nothing; use habitus predict" in refused(capsys, ["recommend", run, *log, *out], 2)
    assert "--at means nothing" in refused(capsys, ["predict", run, *log, *out, "--at", "2025-01-31T10:00Z"], 2)


@pytest.fixture
def preset(monkeypatch):
    """A preset whose every section differs from the defaults."""

    def next_event_preset(name: str, item: str) -> dict:
        return {
            "task": {"item": item, "when": False, "query_time": 1.0 if name == "timed" else 0.0},
            "backbone": {"name": "transformer", "hidden_size": 48, "n_heads": 2, "pooling": "last"},
            "data": {"max_length": 77},
            "training": {"epochs": 3, "learning_rate": 0.005, "batch_tokens": 3200},
        }

    module = types.ModuleType("habitus.model.presets")
    module.next_event_preset = next_event_preset
    monkeypatch.setitem(sys.modules, "habitus.model.presets", module)


def test_a_preset_stands_below_everything_else(preset, tmp_path):
    (tmp_path / "own.toml").write_text("[training]\nepochs = 4\nbatch_tokens = 100\nlearning_rate = 0.1\n")
    given = {"set": ["training.batch_tokens=200", "training.learning_rate=0.2"], "learning_rate": 0.3, "item": "app"}
    plan = build_plan(with_preset(read_settings(tmp_path / "own.toml", given, "next-event"), "timed"))
    assert (plan.training.epochs, plan.training.batch_tokens, plan.training.learning_rate) == (4, 200, 0.3)
    assert (plan.data.max_length, plan.task.when, plan.task.query_time, plan.task.item) == (77, False, 1.0, "app")
    assert plan.backbones["transformer"].hidden_size == 48


def test_a_preset_of_another_backbone_is_left_out(preset):
    settings = read_settings(None, {"backbone": "gru"}, "next-event")
    assert build_plan(with_preset(settings, "fast")).backbones["gru"].hidden_size == 64
    both = build_plan(with_preset(read_settings(None, {}, "next-event"), "fast"), ["gru", "transformer"])
    assert (both.backbones["gru"].hidden_size, both.backbones["transformer"].hidden_size) == (64, 48)


@pytest.mark.parametrize("name", ["fast", "best", "timed"])
def test_every_preset_makes_a_plan(name):
    pytest.importorskip("habitus.model.presets")
    plan = build_plan(with_preset(read_settings(None, {"item": "app"}, "next-event"), name))
    assert plan.task.item == "app" and plan.task.query_time == (1 if name == "timed" else plan.task.query_time)


def test_a_config_of_next_event_has_its_own_sections(tmp_path):
    text = (
        "[task]\nname = 'next-event'\nitem = 'app'\nalso = ['kind']\n[split]\nby = 'none'\n[options]\nfilter_seen='no'"
    )
    (tmp_path / "next.toml").write_text(text)
    plan = build_plan(read_settings(tmp_path / "next.toml", {}))
    assert (plan.task.also, plan.split.by, plan.options.filter_seen) == (("kind",), "none", "no")
    assert plan.backbones["transformer"].pooling == "last"
    with pytest.raises(ConfigError, match="did you mean 'negatives'"):
        build_plan(read_settings(None, {"set": ["task.negative=3"]}, "next-event"))


def test_the_flags_are_those_of_the_code():
    from habitus.tasks.next_event import NextEvent

    choices = typing.get_args(typing.get_type_hints(NextSplit)["by"])
    assert set(typing.get_args(NEXT_SPLITTING["split"].kind)) == set(choices)
    assert NEXT_SPLITTING["split"].default == NextSplit().by
    defaults = {field.name: field.default for field in dataclasses.fields(NextEvent)}
    assert all(flag.default in (None, str(defaults[name])) for name, flag in NEXT_TASK.items())
