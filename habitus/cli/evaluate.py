"""`habitus evaluate`, `habitus predict` and `habitus report`: what is done with a saved model or a run's folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from habitus.cli import options as opt
from habitus.cli.fit import print_metrics
from habitus.cli.output import notes, print_json, say, wrote
from habitus.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from habitus.data.rejects import Rejects
    from habitus.model import SequenceModel

_FORMATS = (".parquet", ".csv", ".arrow")
OptionalTable = Annotated[
    str | None, typer.Option(help="Table of entity, cutoff, profile fields. Without it: everyone, as of now.")
]
Scores = Annotated[Path, typer.Option(help="File to write: .parquet, .csv or .arrow.")]


def evaluate(
    folder: opt.RunFolder,
    events: opt.Events,
    examples: opt.Table,
    as_json: opt.Json = False,
    include_training: Annotated[
        bool, typer.Option("--include-training", help="Count examples that the model was trained on, too.")
    ] = False,
) -> None:
    """Judge a saved model on labelled examples.

    Its counting rivals are judged beside it. Examples that it was trained on are left out.

    Example:

        habitus evaluate runs/risk --events installs.parquet --examples labels.parquet --json
    """
    model = _load(folder)
    log, rejects = _read(model, events, examples)
    found = model.evaluate(log, examples, include_training=include_training)
    notes([*log.notes, *found.notes, *_said(rejects)])
    document = found.to_json()
    print_json(document) if as_json else print_metrics(document, model.name)


def predict(
    folder: opt.RunFolder,
    events: opt.Events,
    out: Scores,
    examples: OptionalTable = None,
) -> None:
    """Score examples, or everyone in a log.

    Writes entity, cutoff, prediction and probability, one row an example in the order given. Rows that could not be
    read are listed beside it in NAME.rejects.csv.

    Example:

        habitus predict runs/risk --events installs.parquet --out scores.parquet
    """
    if out.suffix not in _FORMATS:
        advice = did_you_mean(out.suffix, _FORMATS)
        raise ConfigError(f"--out '{out}' does not say in which format; end it in .parquet, .csv or .arrow; {advice}")
    model = _load(folder)
    log, rejects = _read(model, events, examples)
    scores = model.predict(log, examples)
    paths = [_write_scores(scores, out)]
    if rejects.total:
        paths.append(rejects.write_csv(out.with_name(f"{out.stem}.rejects.csv")))
    notes([*log.notes, *_said(rejects)])
    say(f"{scores.height:,} scores in {out}: columns {', '.join(scores.columns)}.")
    wrote(paths)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `habitus fit --out` wrote.")],
) -> None:
    """Write the report of a run again.

    Reads the files in the folder of the run and writes report.html there.

    Example:

        habitus report runs/risk
    """
    from habitus.evaluate.report import write_report

    path = write_report(folder)
    say(str(path))
    wrote([path], f"open {path} in a browser")


def _load(folder: Path) -> SequenceModel:
    from habitus.bundle import resolve_bundle

    resolve_bundle(folder)  # so that a wrong path is answered before torch is loaded
    from habitus.model import load

    return load(folder)


def _read(model: SequenceModel, events: str, examples: str | None) -> tuple[Any, Rejects]:
    """Read the log as the model does, and return it with all rejected rows, those of the examples included."""
    from habitus.data.examples import read_examples
    from habitus.data.rejects import Rejects
    from habitus.prepared import read_log

    log = read_log(events, model.data, model.encoder_.schema)
    if examples is None:
        return log, log.rejects
    table, _ = read_examples(examples, log, cutoff=model.data.cutoff, schema=model.encoder_.schema)
    one, other = log.rejects, table.rejects
    counts = dict(one.counts)
    for reason, n in other.counts.items():
        counts[reason] = counts.get(reason, 0) + n
    return log, Rejects(one.n_rows + other.n_rows, counts, [*one.samples, *other.samples])


def _said(rejects: Rejects) -> list[str]:
    return [rejects.summary()] if rejects.total else []


def _write_scores(scores: pl.DataFrame, out: Path) -> Path:
    """Write scores in the format that the file's name says, whole or not at all."""
    from habitus.atomic import write_file

    content = io.BytesIO()
    writers: dict[str, Any] = {".parquet": scores.write_parquet, ".csv": scores.write_csv, ".arrow": scores.write_ipc}
    writers[out.suffix](content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, content.getvalue())
    return out
