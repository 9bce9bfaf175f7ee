"""What `fit` and `compare` do for every task whose data carries its own answers; a task's file adds its options.

@opt.with_options(FLAGS)
def fit_tag(ctx, events, out, ..., **given):
    run_fit(ctx, "tag", given, FLAGS, {"events": events}, out, ...)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from habitus.cli import options as opt
from habitus.cli.fit import named, refuse_file, watchers, wrote_run
from habitus.cli.help import command_line
from habitus.cli.output import notes, print_json, say
from habitus.cli.settings import Plan, build_plan, read_settings
from habitus.cli.task_tables import print_task_comparison, print_task_evaluation

COMMON = {**opt.SEED, **{name: opt.TRAINING[name] for name in ("epochs", "learning_rate", "threads")}, **opt.SETTING}
SHARES = {name: opt.SPLITTING[name] for name in ("validation", "test")}


def run_fit(
    ctx: typer.Context,
    task: str,
    given: Mapping[str, Any],
    flags: Mapping[str, opt.Flag],
    sources: Mapping[str, str | None],
    out: Path,
    *,
    config: Path | None = None,
    resume: bool = False,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Fit a model of a task, write its run folder and print its evaluation.

    Args:
        ctx: of the command, for what was typed.
        task: its name.
        given: options by their names in Python.
        flags: what these options mean.
        sources: paths by the names of the model's sources.
        out: the run folder.
        config, resume, as_json, quiet: as the options say.
    """
    plan = build_plan(read_settings(config, given, task, flags))
    refuse_file(out)
    from habitus.evaluate.task_run import fit_task_run

    model = _models(plan)[next(iter(plan.backbones))]
    again = command_line([one for one in ctx.obj or [] if one != "--resume"])
    paths = [found(path) for path in sources.values()]
    prepared = fit_task_run(model, paths, out, resume=resume, callbacks=watchers(quiet), command=again)
    notes([*prepared.notes, *([prepared.rejects.summary()] if prepared.rejects else [])])
    evaluation = {} if model.evaluation_ is None else model.evaluation_.to_json()
    if as_json:
        print_json({**evaluation, "out": str(out), "best_epoch": model.result_.best_epoch})
    elif evaluation:
        print_task_evaluation(evaluation, model.task, model.name)
    else:
        say("Nothing was held out, so that nothing is left to judge on.")
    wrote_run(out, _next(model, out))


def run_compare(
    ctx: typer.Context,
    task: str,
    given: Mapping[str, Any],
    flags: Mapping[str, opt.Flag],
    sources: Mapping[str, str | None],
    out: Path,
    *,
    backbones: str,
    config: Path | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Fit a model of each backbone on the same units, and print who is best; arguments as for `run_fit`."""
    plan = build_plan(read_settings(config, given, task, flags), named(backbones))
    refuse_file(out)
    from habitus.evaluate.task_run import compare_task_run

    models = _models(plan)
    paths = [found(path) for path in sources.values()]
    document = compare_task_run(
        models, paths, out, callbacks=lambda name: watchers(quiet, name), command=command_line(ctx.obj)
    )
    first = next(iter(models.values()))
    print_json(document) if as_json else print_task_comparison(document, first.task)
    wrote_run(out, _next(first, out))


def found(path: str | None) -> str | None:
    """Return a path as it can be found again from any folder; addresses of other kinds stay as they are."""
    return path if path is None or "://" in path else os.path.abspath(path)


def _models(plan: Plan) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "data": plan.data,
        "split": plan.split,
        "training": plan.training,
        "options": plan.options,
        "seed": plan.seed,
    }
    return {name: plan.model(plan.task, backbone, **parts) for name, backbone in plan.backbones.items()}


def _next(model: Any, out: Path) -> str:
    asked = model.predict_sources or model.sources
    given = " ".join(f"--{name} NEW_{name.upper()}" for name in asked)
    return f"habitus predict {out} {given} --out predictions.parquet"
