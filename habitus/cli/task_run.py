"""What `fit` and `compare` do for every task whose data carries its own answers; a task's file adds its options.

@opt.fits(FLAGS)
def fit_tag(events: Events, run: opt.Run) -> None:
    run_fit("tag", run, {"events": events})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from habitus.cli import options as opt
from habitus.cli.fit import named, read_start, refuse_file, remembered, watchers, wrote_run
from habitus.cli.help import command_line
from habitus.cli.output import notes, print_json, say
from habitus.cli.settings import Plan, build_plan, read_settings
from habitus.cli.task_tables import print_task_comparison, print_task_evaluation

COMMON = {**opt.SEED, **{name: opt.TRAINING[name] for name in ("epochs", "learning_rate", "threads")}, **opt.SETTING}
SHARES = {name: opt.SPLITTING[name] for name in ("validation", "test")}


def run_fit(task: str, run: opt.Run, sources: Mapping[str, str | None], start: Path | None = None) -> None:
    """Fit a model of a task, write its run folder and print its evaluation.

    Args:
        task: its name.
        run: how it was asked.
        sources: paths by the names of the model's sources.
        start: a pretrained bundle that the model goes on from.
    """
    settings = read_settings(run.config, run.given, task, run.flags)
    begun = read_start(start, settings)
    plan = build_plan(settings)
    refuse_file(run.out)
    from habitus.evaluate.task_run import fit_task_run

    (model,) = _models(plan).values()
    paths = [remembered(path) for path in sources.values()]
    again = command_line([one for one in run.typed if one != "--resume"])
    prepared = fit_task_run(
        model, paths, run.out, start=begun, resume=run.resume, callbacks=watchers(run.quiet), command=again
    )
    notes([*prepared.notes, *([prepared.rejects.summary()] if prepared.rejects else [])])
    evaluation = {} if model.evaluation_ is None else model.evaluation_.to_json()
    if run.as_json:
        print_json({**evaluation, "out": str(run.out), "best_epoch": model.result_.best_epoch})
    elif evaluation:
        print_task_evaluation(evaluation, model.task, model.name)
    else:
        say("Nothing was held out, so that nothing is left to judge on.")
    wrote_run(run.out, _next(model, run.out))


def run_compare(task: str, run: opt.Run, sources: Mapping[str, str | None]) -> None:
    """Fit a model of each backbone on the same units, and print who is best; arguments as for `run_fit`."""
    plan = build_plan(read_settings(run.config, run.given, task, run.flags), named(run.backbones))
    refuse_file(run.out)
    from habitus.evaluate.task_run import compare_task_run

    models = _models(plan)
    paths = [remembered(path) for path in sources.values()]
    document = compare_task_run(
        models, paths, run.out, callbacks=lambda name: watchers(run.quiet, name), command=command_line(run.typed)
    )
    first = next(iter(models.values()))
    print_json(document) if run.as_json else print_task_comparison(document, first.task)
    wrote_run(run.out, _next(first, run.out))


def with_whole_paths(run: opt.Run, names: Sequence[str]) -> opt.Run:
    """Return the same with the files under these names as they can be found again from any folder."""
    files = {name: remembered(run.given[name]) for name in names if run.given.get(name)}
    return replace(run, given={**run.given, **files})


def _models(plan: Plan) -> dict[str, Any]:
    return {name: plan.model(plan.task, backbone, **plan.parts) for name, backbone in plan.backbones.items()}


def _next(model: Any, out: Path) -> str:
    asked = model.predict_sources or model.sources
    given = " ".join(f"--{name} NEW_{name.upper()}" for name in asked)
    return f"habitus predict {out} {given} --out predictions.parquet"
