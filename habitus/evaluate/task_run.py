"""A run of a task whose data carries its own answers: fit one model, or compare several, and leave a folder that shows
what they are worth.

DIR/model/ metrics.json history.json data.json rejects.csv report.html, and compare.json of a comparison
DIR/checkpoint/ (while training) DIR/logs/ (of the tracker)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from habitus.errors import ConfigError
from habitus.evaluate.folder import finite, model_costs, remove_stale, run_facts, write_json, write_report_if_possible
from habitus.evaluate.task_verdict import verdict
from habitus.model import SequenceModel
from habitus.model.start import Start
from habitus.model.task_model import TaskModel
from habitus.prepared_task import PreparedTask
from habitus.training import Callback


def fit_task_run(
    model: TaskModel,
    sources: Sequence[Any],
    out: str | Path,
    *,
    start: Start | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    command: str = "",
) -> PreparedTask:
    """Fit a model and write its run folder, report included; returns what it was fitted on.

    Args:
        model: not fitted yet.
        sources: as `model.fit` takes them.
        out: the run folder; results of an earlier run in it are replaced.
        start: a pretrained bundle that the model goes on from.
        resume: go on from the checkpoint that a killed run left in the folder.
        callbacks: watch the training.
        command: how to run it again, for the report.
    """
    out, began = Path(out), time.monotonic()
    model.begin_from(start)
    model._check()
    prepared = model.prepare(*sources).on(sources)
    out.mkdir(parents=True, exist_ok=True)
    model.fit_prepared(prepared, folder=out, resume=resume, callbacks=callbacks)
    remove_stale(out)
    _write(model, prepared, out, run_facts(model, command, time.monotonic() - began))
    if model.evaluation_ is not None:
        write_report_if_possible(out)
    return prepared


def compare_task_run(
    models: Mapping[str, TaskModel],
    sources: Sequence[Any],
    out: str | Path,
    *,
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
    command: str = "",
) -> dict[str, Any]:
    """Fit models that differ in their backbones on the same units, and write what came of it.

    Args:
        models: by name, not fitted yet; the first one fills the run folder, the others go to `DIR/<name>`.
        sources: as `fit` takes them.
        out: the run folder.
        callbacks: gives the callbacks that watch the model of a name.
        command: how to run it again, for the report.

    Returns:
        What `compare.json` holds: metrics and costs of each model and rival, paired differences, and the verdict.
    """
    if not models:
        raise ConfigError("compare needs at least one backbone, such as transformer or gru.")
    out, began = Path(out), time.monotonic()
    for model in models.values():
        model._check()
    first = next(iter(models.values()))
    prepared = first.prepare(*sources).on(sources)
    if not len(prepared.of("test")):
        raise ConfigError("compare judges on a test part, and this split leaves none; give it a share ([split] test).")
    for name, model in models.items():
        folder = out if model is first else out / name
        folder.mkdir(parents=True, exist_ok=True)
        rivals = None if model is first else first.baselines_
        model.fit_prepared(prepared, rivals=rivals, folder=folder, callbacks=callbacks(name))
    document = _comparison(list(models.values()))
    document["run"] = facts = run_facts(first, command, time.monotonic() - began)
    for name, model in models.items():
        folder = out if model is first else out / name
        remove_stale(folder)
        _write(model, prepared, folder, facts)
    write_json(out / "compare.json", finite(document))
    write_report_if_possible(out)
    return document


def _write(model: TaskModel, prepared: PreparedTask, out: Path, facts: Mapping[str, Any]) -> None:
    """Write the run folder of a fitted model; the checkpoint goes once the bundle stands."""
    model.save(out / "model")
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    write_json(out / "history.json", finite(model.history_))
    write_json(out / "data.json", finite(_data(prepared)))
    if model.evaluation_ is not None:
        write_json(out / "metrics.json", finite(_metrics(model, facts)))
    if prepared.rejects is not None and prepared.rejects.total:
        prepared.rejects.write_csv(out / "rejects.csv")


def _metrics(model: TaskModel, facts: Mapping[str, Any]) -> dict[str, Any]:
    assert model.evaluation_ is not None, "there is a test part"
    return model.evaluation_.to_json() | {
        "model": model.name,
        "primary": model.task.monitor,
        "best_epoch": model.result_.best_epoch,
        "padding_waste": model.result_.padding_waste,
        "panels": list(model.evaluation_.panels),
        "run": dict(facts),
    }


def _data(prepared: PreparedTask) -> dict[str, Any]:
    rejects = {} if prepared.rejects is None else {"rejects": prepared.rejects.to_json()}
    return {
        "source": prepared.source,
        "fingerprint": prepared.fingerprint(),
        "parts": prepared.counts(),
        "facts": dict(prepared.facts),
        "notes": list(prepared.notes),
        **rejects,
    }


def _comparison(models: Sequence[TaskModel]) -> dict[str, Any]:
    first = models[0]
    task, truth = first.task, first.test_truth_
    answers: dict[str, Any] = {model.name: model.test_answers_["model"] for model in models}
    answers |= {rival.name: first.test_answers_[rival.name] for rival in first.baselines_}
    metrics = {name: task.metrics(truth, answer) for name, answer in answers.items()}
    costs = _costs(models)
    leading, *others = answers
    pairs = {f"{leading} - {name}": task.differences(truth, answers[leading], answers[name]) for name in others}
    assert first.evaluation_ is not None, "judged before"
    n, unit = first.evaluation_.n, task.unit
    return {
        "task": task.name,
        "target": task.target,
        "n": n,
        "unit": unit,
        "split": "test",
        "primary": task.monitor,
        "models": {
            name: {"metrics": {key: one.to_json() for key, one in found.items()}, **costs.get(name, {})}
            for name, found in metrics.items()
        },
        "differences": {pair: {key: one.to_json() for key, one in found.items()} for pair, found in pairs.items()},
        "verdict": verdict(task, truth, answers, {name: one[task.monitor].value for name, one in metrics.items()}, n),
    }


def _costs(models: Sequence[SequenceModel]) -> dict[str, dict[str, float]]:
    """Return the seconds of learning of every model and rival, and the parameters and memory of the models."""
    rival_seconds: Mapping[str, float] = models[0].rival_seconds_  # type: ignore[attr-defined]
    known: dict[str, dict[str, float]] = {name: {"seconds": round(took, 3)} for name, took in rival_seconds.items()}
    for model in models:
        known[model.name] = model_costs(model, model.result_.seconds)
    return known
