"""`evaluate` and `predict` for tasks whose data carries its own answers, and where a model's own data is."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.cli.output import notes, print_json, say, wrote
from habitus.cli.scoring import said, write_scores
from habitus.cli.task_tables import print_task_evaluation
from habitus.errors import ConfigError, DataError

if TYPE_CHECKING:
    from habitus.model import SequenceModel


def is_judged_by_itself(model: SequenceModel) -> bool:
    """Say whether the data of the model's task carries its own answers."""
    from habitus.model.task_model import TaskModel

    return isinstance(model, TaskModel)


def evaluate_task(
    model: Any, given: Mapping[str, str | None], folder: Path, *, include_training: bool, as_json: bool
) -> None:
    """Judge a model on the sources that are given, or on those of its fit where none is."""
    paths = [given[name] for name in model.sources]
    if not any(paths):
        paths = own_sources(model, folder)
    found = model.evaluate(*paths, include_training=include_training)
    notes(found.notes)
    document = found.to_json()
    print_json(document) if as_json else print_task_evaluation(document, model.task, model.name)


def predict_task(model: Any, given: Mapping[str, str | None], out: Path, **how: Any) -> None:
    """Write a model's answers to the sources that are given; `how` goes to its `predict`."""
    names = model.predict_sources or model.sources
    missing = [name for name in names if not given.get(name)]
    if missing:
        raise ConfigError(
            f"A model of the task '{model.task.name}' reads {_options(names)}; --{missing[0]} is missing."
        )
    answers = model.predict(*(given[name] for name in names), **how)
    paths = [write_scores(answers, out)]
    rejects = getattr(model, "rejects_", None)
    if rejects is not None and rejects.total:
        paths.append(rejects.write_csv(out.with_name(f"{out.stem}.rejects.csv")))
        notes(said(rejects))
    notes(getattr(model, "notes_", ()))
    say(f"{answers.height:,} rows in {out}: columns {', '.join(answers.columns)}.")
    wrote(paths)


def own_source(model: SequenceModel, folder: Path) -> str:
    """Return where the log is that a next-event model was fitted on."""
    return _still_there(str(model.log_["source"]), folder, "--events")  # type: ignore[attr-defined]


def own_sources(model: Any, folder: Path) -> list[str | None]:
    """Return where the sources are that judge a model when no others are given."""
    pairs = zip(model.sources, model.own_sources(), strict=True)
    return [None if path is None else _still_there(path, folder, f"--{name}") for name, path in pairs]


def refuse_given(options: Mapping[str, Any], task: str) -> None:
    """Refuse options that mean nothing to a task."""
    for option, value in options.items():
        if value is not None:
            raise ConfigError(f"{option} means nothing to a model of the task '{task}'; leave it out.")


def refuse_others(given: Mapping[str, str | None], sources: tuple[str, ...], task: str) -> None:
    """Refuse data that a model does not read."""
    refuse_given({f"--{name}": value for name, value in given.items() if name not in sources}, task)


def _still_there(source: str, folder: Path, option: str) -> str:
    if "://" not in source and not os.path.isabs(source):
        raise ConfigError(f"The model in '{folder}' was fitted on {source}, which no file holds; give {option}.")
    if "://" not in source and not os.path.exists(source) and not glob.glob(source, recursive=True):
        raise DataError(
            f"What the model in '{folder}' was fitted on, '{source}', is gone; say where it is now with {option}."
        )
    return source


def _options(names: tuple[str, ...]) -> str:
    return " and ".join(f"--{name}" for name in names)
