"""The search: trials drawn by TPE, weak ones stopped early, all of them in a journal that a later run goes on from.

Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4 (the Tree-structured Parzen Estimator);
stopping by the median of earlier trials at the same epoch. Both are optuna's. Workers are processes that share the
journal DIR/trials.journal; the trials a killed run left half done are marked as failed and made up for.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from habitus.errors import ConfigError, HabitusError, TrainingError, require
from habitus.tune.space import Range, Space
from habitus.tune.trials import Job, Trials, best_value

NAME = "habitus"
JOURNAL = "trials.journal"
_FIRST_UNPRUNED = 5


@dataclass(frozen=True)
class Search:
    """How much is tried.

    Args:
        trials: in all, those of earlier runs in the folder counted.
        workers: processes side by side.
        seed: of the draws; with several workers the order of trials, and so the draws, differ from run to run.
        prune: stop a trial whose validation metric is below the median of earlier ones at the same epoch.
        quiet: say nothing on stderr after each trial.

    >>> Search(trials=30).workers
    1
    """

    trials: int = 30
    workers: int = 1
    seed: int = 0
    prune: bool = True
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.trials < 1 or self.workers < 1:
            raise ConfigError(f"trials={self.trials} and workers={self.workers} must be 1 or more.")


def tune(job: Job, space: Space, folder: str | Path, search: Search | None = None, *, resume: bool = False) -> Any:
    """Search until the folder's journal holds as many trials as asked; return optuna's study.

    Args:
        job: what a trial does.
        space: what is searched.
        folder: holds the journal, made if absent.
        search: how much is tried.
        resume: go on from the journal that is there; without it an earlier journal is refused.

    Raises:
        ConfigError: if there is a journal already, or the space holds options that no model takes.
        TrainingError: if no trial came to an end.
    """
    search, folder = search or Search(), Path(folder)
    _refuse_journal(folder, resume)
    job.build(_first_of(space))  # unknown options are refused before an hour is spent
    folder.mkdir(parents=True, exist_ok=True)
    study = _open(folder, search)
    _fail_unfinished(study)
    missing = search.trials - _n_done(study)
    if missing > 0 and search.workers == 1:
        _work(job, space, folder, search, 0)
    elif missing > 0:
        _side_by_side(job, space, folder, search)
    study = _open(folder, search)
    if not any(trial.state.name == "COMPLETE" for trial in study.trials):
        reasons = {str(trial.user_attrs.get("reason")) for trial in study.trials if trial.state.name == "FAIL"}
        raise TrainingError(f"None of {len(study.trials)} trials came to an end: {'; '.join(sorted(reasons))}.")
    return study


def chosen_options(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return options by section.

    >>> chosen_options({"training.batch_rows": 32, "backbone.dropout": 0.1})
    {'training': {'batch_rows': 32}, 'backbone': {'dropout': 0.1}}
    """
    found: dict[str, dict[str, Any]] = {}
    for key, value in params.items():
        section, _, name = key.partition(".")
        found.setdefault(section, {})[name] = value
    return found


def _refuse_journal(folder: Path, resume: bool) -> None:
    if (folder / JOURNAL).exists() and not resume:
        raise ConfigError(
            f"'{folder}' holds the trials of an earlier search; go on from them with --resume, or give another folder."
        )


def _first_of(space: Space) -> dict[str, dict[str, Any]]:
    return chosen_options({key: one.low if isinstance(one, Range) else one[0] for key, one in space.items()})


def _open(folder: Path, search: Search, worker: int = 0) -> Any:
    """Open the study of a folder, or begin it."""
    optuna = require("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = require("optuna.storages.journal", "tune")
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / JOURNAL)))
    pruners = optuna.pruners
    return optuna.create_study(
        study_name=NAME,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=search.seed + worker, constant_liar=search.workers > 1),
        pruner=pruners.MedianPruner(_FIRST_UNPRUNED, 1) if search.prune else pruners.NopPruner(),
        direction="maximize",
        load_if_exists=True,
    )


def _fail_unfinished(study: Any) -> None:
    """Mark what a killed run left half done; nobody else works on the journal yet."""
    state = require("optuna.trial", "tune").TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        study._storage.set_trial_user_attr(trial._trial_id, "reason", "the run was stopped")
        study.tell(trial.number, state=state.FAIL)


def _n_done(study: Any) -> int:
    """Count trials that need not be made up for: those that came to an end, were stopped early or cannot be."""
    lost = ("the run was stopped",)
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return sum(trial.user_attrs.get("reason") not in lost for trial in done)


def _side_by_side(job: Job, space: Space, folder: Path, search: Search) -> None:
    """Let processes of their own take trials from one journal."""
    context = multiprocessing.get_context("spawn")  # forked polars and torch may hang
    crew = [
        context.Process(target=_work, args=(job, space, folder, search, number)) for number in range(search.workers)
    ]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    broken = [process.exitcode for process in crew if process.exitcode]
    if broken:
        raise TrainingError(
            f"{len(broken)} of {len(crew)} workers stopped with an error, which they said above; the trials that came "
            "to an end are kept: go on with --resume."
        )


def _work(job: Job, space: Space, folder: Path, search: Search, worker: int) -> None:
    """Take trials until there are enough."""
    study, trials = _open(folder, search, worker), job.prepare()

    def stop_when_done(study: Any, trial: Any) -> None:
        _say(study, trial, search)
        if _n_done(study) >= search.trials:
            study.stop()

    if _n_done(study) < search.trials:
        study.optimize(
            lambda trial: _objective(trial, trials, space), catch=(HabitusError,), callbacks=[stop_when_done]
        )


def _objective(trial: Any, trials: Trials, space: Space) -> float:
    params = {key: _suggest(trial, key, one) for key, one in space.items()}
    try:
        model = trials.run(chosen_options(params), [_Pruning(trial)])
    except HabitusError as error:  # such as a width that the heads do not divide; the search goes on
        trial.set_user_attr("reason", str(error))
        raise
    trial.set_user_attr("epochs", len(model.history_))
    trial.set_user_attr("monitor", str(model.history_[-1]["monitor"]))
    trial.set_user_attr("parameters", model.result_.parameters)
    return best_value(model)


def _suggest(trial: Any, key: str, one: Range | tuple[Any, ...]) -> Any:
    if not isinstance(one, Range):
        return trial.suggest_categorical(key, list(one))
    if one.is_whole:
        return trial.suggest_int(key, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(key, one.low, one.high, log=one.log)


class _Pruning:
    """Tell optuna the validation metric of each epoch, and stop where it says so."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial

    def on_start(self, facts: Mapping[str, Any]) -> None:
        """Note nothing."""

    def on_batch(self, facts: Mapping[str, Any]) -> None:
        """Note nothing."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Report the metric, and stop a weak trial."""
        self._trial.report(float(record["validation_metric"]), int(record["epoch"]))
        if self._trial.should_prune():
            self._trial.set_user_attr("epochs", int(record["epoch"]))
            raise require("optuna", "tune").TrialPruned

    def on_end(self) -> None:
        """Note nothing."""


def _say(study: Any, trial: Any, search: Search) -> None:
    if search.quiet:
        return
    said = {"COMPLETE": "", "PRUNED": " (stopped early)", "FAIL": f" (failed: {trial.user_attrs.get('reason')})"}
    value = "–" if trial.value is None else f"{trial.value:.4f}"
    done = [one.value for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    best = f"; best so far {max(done):.4f}" if done else ""
    print(f"trial {trial.number}: {value}{said.get(trial.state.name, '')}{best}", file=sys.stderr, flush=True)
