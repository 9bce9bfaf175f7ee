"""`habitus compare classify --labels 1%,5%,100%` and of regress: how many labels does it take?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from habitus.cli import options as opt
from habitus.cli.fit import named, refuse_file, watchers, wrote_run
from habitus.cli.help import command_line
from habitus.cli.output import notes, print_json, say, table
from habitus.cli.settings import build_data, build_plan, read_settings


def run_few_labels(
    task: str, run: opt.Run, events: str | None, examples: str, labels: str, start: Path | None, seeds: int
) -> None:
    """Fit models on shares of the labels, and print what each reaches.

    Args:
        task: its name.
        run: how it was asked.
        events, examples, labels, start, seeds: as the options say.
    """
    settings, out = read_settings(run.config, run.given, task, run.flags), run.out
    build_data(settings).refuse_sources(events)
    refuse_file(out)
    from habitus.evaluate.few_labels import read_shares

    shares = read_shares(labels)
    plan = build_plan(settings, named(run.backbones))
    from habitus.evaluate.few_labels_run import few_labels_run
    from habitus.model.start import Start

    document = few_labels_run(
        plan.task,
        plan.backbones,
        events,
        examples,
        out,
        shares=shares,
        n_seeds=seeds,
        start=None if start is None else Start.read(start),
        **plan.parts,
        callbacks=lambda name: watchers(run.quiet, name),
        command=command_line(run.typed),
    )
    notes(document["notes"])
    print_json(document) if run.as_json else _print(document)
    following = " ".join(run.typed[1:2])
    wrote_run(out, f"habitus fit {following} ... --from {start}" if start else f"habitus report {out}")


def _print(document: Mapping[str, Any]) -> None:
    from habitus.evaluate.few_labels_run import panels_of

    _, values, pairs = panels_of(document)
    title = f"{document['target']}: {document['primary']} on {document['n']:,} test examples, by share of the labels"
    table(title, values["columns"], values["rows"])
    if pairs["rows"]:
        table("Paired differences, 95 % intervals", pairs["columns"], pairs["rows"])
    say(document["verdict"])
