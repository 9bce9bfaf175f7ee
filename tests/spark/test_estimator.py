"""Training on executors: the model of one machine, told as it happens, refused or explained where it cannot go on."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyspark.ml import Pipeline

from habitus.cli import main
from habitus.data.simulate import simulate_installs
from habitus.errors import ConfigError, TrainingError
from habitus.model import load
from habitus.spark import SequenceModelEstimator, SequenceModelTransformer
from habitus.spark.rank import files
from habitus.spark.train import train_on_executors
from tests.spark.models import small_log

SMALL = {
    "backbone": {"hidden_size": 16},
    "data": {"max_length": 32},
    "training": {"epochs": 2, "threads": 1},
    "options": {"baselines": ["most frequent"]},
}


class Watch:
    """Notes what a training tells."""

    def __init__(self, kill_at=None):
        self.calls, self.kill_at = [], kill_at

    def on_start(self, facts):
        self.calls.append("start")

    def on_batch(self, facts):
        self.calls.append("batch")
        if self.kill_at is not None and self.calls.count("batch") >= self.kill_at:
            self.kill_at = None
            kill_a_rank()

    def on_epoch(self, record):
        self.calls.append("epoch")

    def on_end(self):
        self.calls.append("end")


@pytest.fixture(scope="module")
def tables(spark, tmp_path_factory):
    folder, log = tmp_path_factory.mktemp("log"), small_log()
    log.events.write_parquet(folder / "events.parquet")
    log.labels.write_parquet(folder / "labels.parquet")
    return str(folder / "events.parquet"), str(folder / "labels.parquet")


def test_parameters_are_saved_and_wrong_ones_are_refused(spark, tmp_path):
    estimator = SequenceModelEstimator(labelCol="risk", backbone="gru", config=SMALL, folder="/x", processes=3, seed=5)
    Pipeline(stages=[estimator]).write().overwrite().save(str(tmp_path / "pipeline"))
    (loaded,) = Pipeline.load(str(tmp_path / "pipeline")).getStages()
    assert loaded.getConfig() == SMALL and loaded.getProcesses() == 3 and loaded.getFolder() == "/x"
    model = loaded.build()
    assert (model.seed, model.split.seed, model.backbone.hidden_size, model.training.epochs) == (5, 5, 16, 2)
    for wrong, said in (
        ({"task": "tag"}, "task='tag'"),
        ({"backbone": "gruu"}, "There is no backbone"),
        ({"config": {"bakbone": {}}}, "There is no part 'bakbone'"),
        ({"config": {"training": {"epoch": 3}}}, "epoch"),
    ):
        with pytest.raises(ConfigError, match=said):
            SequenceModelEstimator(labelCol="risk").setParams(**wrong).build()
    with pytest.raises(ConfigError, match="No target"):
        SequenceModelEstimator().build()
    with pytest.raises(ConfigError, match="No examples"):
        SequenceModelEstimator(labelCol="risk").fit(spark.range(1))


def test_more_processes_than_slots_are_refused_at_once(spark, tables, tmp_path, capsys):
    command = ["spark", "fit", "classify", "--events", tables[0], "--examples", tables[1], "--target", "risk"]
    began = time.monotonic()
    assert main([*command, "--out", str(tmp_path / "run"), "--processes", "3", "--master", "local[2]"]) == 2
    assert "processes=3 need as many slots at once, and this Spark has 2" in capsys.readouterr().err
    assert time.monotonic() - began < 60


def test_an_estimator_in_a_pipeline_learns_on_two_processes_and_scores(spark, tables, tmp_path):
    watch = Watch()
    estimator = SequenceModelEstimator(labelCol="risk", backbone="gru", config=SMALL, folder=str(tmp_path / "run"))
    estimator.setExamples(tables[1]).setCallbacks([watch])
    transformer = estimator.fit(spark.read.parquet(tables[0]))
    assert isinstance(transformer, SequenceModelTransformer)
    assert watch.calls[0] == "start" and watch.calls[-1] == "end" and watch.calls.count("epoch") == 2
    model = load(tmp_path / "run" / "model")
    assert [one.name for one in model.baselines_] == ["most frequent"]
    examples = pl.read_parquet(tables[1]).head(40)
    expected = model.predict(tables[0], examples)["probability"].to_numpy()
    examples.drop("risk").write_parquet(tmp_path / "who.parquet")
    scored = transformer.setExamples(spark.read.parquet(str(tmp_path / "who.parquet")))
    found = pl.from_arrow(scored.transform(spark.read.parquet(tables[0])).toArrow())
    both = examples.select("user_id", "cutoff").join(found, on=["user_id", "cutoff"], how="left", maintain_order="left")
    assert np.abs(both["probability"].to_numpy() - expected).max() < 1e-5
    assert not (tmp_path / "run" / "job").exists()  # it has served
    # the examples that trained are known, so that an evaluation leaves them out
    held_out = model.trained_on_.held_out(pl.read_parquet(tables[1]), "user_id", "cutoff")[0]
    assert 0.1 < held_out.mean() < 0.3


@pytest.mark.slow
def test_two_processes_reach_the_auc_of_one_and_the_command_leaves_a_run_folder(spark, tmp_path, capsys):
    log = simulate_installs(3000, seed=2)
    log.events.write_parquet(tmp_path / "events.parquet")
    log.labels.write_parquet(tmp_path / "labels.parquet")
    given = ["--events", str(tmp_path / "events.parquet"), "--examples", str(tmp_path / "labels.parquet")]
    given += ["--target", "risk", "--backbone", "gru", "--max-length", "64", "--epochs", "4", "--threads", "1"]
    given += ["--set", "backbone.hidden_size=16", "--set", 'options.baselines=["most frequent"]', "--quiet"]
    assert main(["fit", "classify", *given, "--out", str(tmp_path / "one")]) == 0
    assert main(["spark", "fit", "classify", *given, "--out", str(tmp_path / "two")]) == 0, capsys.readouterr().err
    best = [
        max(one["validation_metric"] for one in json.loads((tmp_path / name / "history.json").read_text()))
        for name in ("one", "two")
    ]
    assert abs(best[0] - best[1]) < 0.01
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert {"model", "metrics.json", "history.json", "data.json", "test_scores.parquet"} <= names and "job" not in names


@pytest.mark.slow
def test_a_killed_process_is_an_error_that_says_so_and_resume_ends_as_an_undisturbed_run(spark, tables, tmp_path):
    def estimator(name, **more):
        config = {**SMALL, "training": {"epochs": 3, "threads": 1, "checkpoint_every_s": 0}}
        made = SequenceModelEstimator(labelCol="risk", backbone="gru", config=config, folder=str(tmp_path / name))
        return made.setParams(**more).setExamples(tables[1])

    events = spark.read.parquet(tables[0])
    estimator("whole").fit(events)
    with pytest.raises(TrainingError, match=r"process of the training died.*resume"):
        estimator("killed").setCallbacks([Watch(kill_at=12)]).fit(events)
    assert (tmp_path / "killed" / "job" / "checkpoint").is_dir() and not (tmp_path / "killed" / "model").exists()
    estimator("killed", resume=True).fit(events)
    models = [load(tmp_path / name / "model") for name in ("whole", "killed")]
    histories = [[one["validation_metric"] for one in model.history_] for model in models]
    assert histories[0] == pytest.approx(histories[1], abs=1e-6) and models[1].result_.resumed_at_step
    weights = [model.network_.state_dict() for model in models]
    assert all(np.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
    # an error in a process keeps its traceback, which Spark would lose
    job = tmp_path / "broken" / "job"
    config = {**SMALL, "training": {"epochs": 1, "threads": 1}}
    broken = SequenceModelEstimator(labelCol="risk", backbone="gru", config=config, folder=str(job.parent))
    broken.setExamples(tables[1]).setCallbacks([Spoil(job)])
    with pytest.raises(TrainingError, match=r"Process . of 2 failed: .*(Invalid|Parquet|magic)"):
        broken.fit(events)
    assert json.loads(next(job.glob("failed-*.json")).read_text())["traceback"].startswith("Traceback")
    with pytest.raises(TrainingError):
        train_on_executors(spark, job, 2)


class Spoil(Watch):
    """Spoils a file of the rows as soon as the training has begun."""

    def __init__(self, job):
        super().__init__()
        self.job = job

    def on_start(self, facts):
        for path in files(self.job):
            path.write_bytes(b"spoilt")


def kill_a_rank():
    """Kill a process that trains, from a thread, as a machine that goes away does."""
    own = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if environment(pid).get("RANK") == "1"]
    mine = [pid for pid in own if descends_from(pid, os.getpid())]
    assert mine, "no process trains"
    threading.Thread(target=lambda: [os.kill(pid, signal.SIGKILL) for pid in mine]).start()


def environment(pid):
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(word.decode(errors="replace").split("=", 1) for word in words if b"=" in word)


def descends_from(pid, ancestor):
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
