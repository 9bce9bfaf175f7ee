"""`habitus spark fit classify` and `regress`: prepare and train on a cluster, and leave the run folder of `fit`."""

from __future__ import annotations

import shutil
import time
from typing import Annotated

import typer

from habitus.cli import options as opt
from habitus.cli.fit import print_fit, refuse_file, watchers, wrote_run
from habitus.cli.help import command_line
from habitus.cli.regress import TASK_FLAGS, TRAINING_FLAGS
from habitus.cli.settings import CLASSIFY, REGRESS, build_plan, read_settings
from habitus.cli.spark import Master

_SHARED = {**opt.BACKBONE, **opt.SEED, **opt.SETTING, **opt.SPLITTING, **opt.READING, **opt.LENGTH}
_CLASSIFY_FLAGS = {**opt.TARGET, **opt.TRAINING, **_SHARED}
_REGRESS_FLAGS = {**TASK_FLAGS, **TRAINING_FLAGS, **_SHARED}

SparkEvents = Annotated[str, typer.Option(help="The log: Parquet or CSV, at a path that every machine sees.")]
SparkTable = Annotated[str, typer.Option(help="Table of examples: entity, cutoff, target, profile fields.")]
Processes = Annotated[int, typer.Option(min=1, help="How many train together; each needs a slot of the cluster.")]
SampleRows = Annotated[int, typer.Option(min=1, help="Most rows that this machine reads for rivals and figures.")]


@opt.fits(_CLASSIFY_FLAGS)
def spark_fit_classify(
    events: SparkEvents,
    examples: SparkTable,
    run: opt.Run,
    master: Master = None,
    processes: Processes = 2,
    sample_rows: SampleRows = 200_000,
) -> None:
    """Train a classifier on a cluster.

    Spark prepares the rows, its executors train together, and the folder gets what habitus fit writes. The folder must
    be one that every machine sees.

    Example:

        habitus spark fit classify --events log --examples labels --target risk --out runs/risk --master local[2]
    """
    run_spark_fit(CLASSIFY, run, events, examples, master, processes, sample_rows)


@opt.fits(_REGRESS_FLAGS)
def spark_fit_regress(
    events: SparkEvents,
    examples: SparkTable,
    run: opt.Run,
    master: Master = None,
    processes: Processes = 2,
    sample_rows: SampleRows = 200_000,
) -> None:
    """Train a regression on a cluster.

    Spark prepares the rows, its executors train together, and the folder gets what habitus fit writes. The folder must
    be one that every machine sees.

    Example:

        habitus spark fit regress --events log --examples sums --target spent --out runs/spent --master local[2]
    """
    run_spark_fit(REGRESS, run, events, examples, master, processes, sample_rows)


def run_spark_fit(
    task: str, run: opt.Run, events: str, examples: str, master: str | None, processes: int, sample_rows: int
) -> None:
    """Fit on Spark, write the run folder and print the evaluation; arguments as the options say."""
    plan, out = build_plan(read_settings(run.config, run.given, task, run.flags)), run.out
    refuse_file(out)
    from habitus.evaluate.folder import remove_stale, write_report_if_possible
    from habitus.evaluate.run import write_run
    from habitus.model import LabelledModel
    from habitus.spark.fit import fit_on_spark
    from habitus.spark.session import spark_session

    (backbone,) = plan.backbones.values()
    model, began = LabelledModel(plan.task, backbone, **plan.parts), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    prepared = fit_on_spark(
        spark_session(master),
        model,
        events,
        examples,
        out / "job",
        processes=processes,
        resume=run.resume,
        callbacks=watchers(run.quiet),
        sample_rows=sample_rows,
    )
    remove_stale(out)
    again = command_line([one for one in run.typed if one != "--resume"])
    write_run(model, prepared, out, command=again, seconds=time.monotonic() - began)
    shutil.rmtree(out / "job", ignore_errors=True)
    if model.evaluation_ is not None:
        write_report_if_possible(out)
    print_fit(model, out, as_json=run.as_json)
    wrote_run(out, f"habitus spark predict {out} --events NEW_EVENTS --examples WHO --out scores")
