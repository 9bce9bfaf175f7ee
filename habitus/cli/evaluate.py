"""`habitus evaluate`, `habitus predict` and `habitus report`: what is done with a saved model or a run's folder.

Each dispatches on the task of the model that it opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from habitus.cli import options as opt
from habitus.cli.answer import ANSWER
from habitus.cli.fit import print_metrics
from habitus.cli.next_tables import print_next_evaluation
from habitus.cli.output import notes, print_json, say, wrote
from habitus.cli.scoring import load_model, moment, refuse_format, said, write_scores
from habitus.cli.settings import NEXT_EVENT
from habitus.cli.task_scoring import (
    evaluate_task,
    is_judged_by_itself,
    own_source,
    predict_task,
    refuse_given,
    refuse_others,
)
from habitus.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from habitus.data.events import EventLog
    from habitus.data.rejects import Rejects
    from habitus.model import SequenceModel

OptionalTable = Annotated[
    str | None, typer.Option(help="Table of entity, cutoff, profile fields; or questions. Without it: everyone, now.")
]
OptionalEvents = Annotated[
    str | None, typer.Option(help="The log; next events and tags are judged on the one of the fit without it.")
]
Pairs = Annotated[str | None, typer.Option(help="Table of texts and their answers (generate).")]
Audio = Annotated[str | None, typer.Option(help="Folder of wav files (transcribe).")]
Transcripts = Annotated[str | None, typer.Option(help="Table of file and text (transcribe).")]


def evaluate(
    folder: opt.RunFolder,
    events: OptionalEvents = None,
    examples: Annotated[
        str | None, typer.Option(help="Table of entity, cutoff, target, profile fields; or questions with answers.")
    ] = None,
    pairs: Pairs = None,
    audio: Audio = None,
    transcripts: Transcripts = None,
    split: Annotated[
        Literal["leave-one-out", "temporal", "entities"] | None,
        typer.Option(help="Which events judge (next-event); must be that of the fit.", show_default=False),
    ] = None,
    as_json: opt.Json = False,
    include_training: Annotated[
        bool, typer.Option("--include-training", help="Count what the model was trained on, too.")
    ] = False,
) -> None:
    """Judge a saved model, its counting rivals beside it.

    A classifier is judged on labelled examples; those that it was trained on are left out. A next-event model is
    judged on the test part of its log. Other models are judged on the data given, or on that of the fit; what they
    were trained on is left out.

    Example:

        habitus evaluate runs/risk --events installs.parquet --examples labels.parquet --json
    """
    model = load_model(folder)
    given = {"events": events, "examples": examples, "pairs": pairs, "audio": audio, "transcripts": transcripts}
    name = model.task.name
    refuse_others(given, ("events",) if name == NEXT_EVENT else model.sources, name)
    if name != NEXT_EVENT:
        refuse_given({"--split": split}, name)
    if name == NEXT_EVENT:
        refuse_given({"--include-training": include_training or None}, name)
        _evaluate_next(model, events or own_source(model, folder), split, as_json=as_json)
    elif is_judged_by_itself(model):
        evaluate_task(model, given, folder, include_training=include_training, as_json=as_json)
    else:
        _evaluate_labelled(model, events, examples, include_training=include_training, as_json=as_json)


def predict(
    folder: opt.RunFolder,
    out: opt.Scores,
    events: Annotated[str | None, typer.Option(help="The log.")] = None,
    examples: OptionalTable = None,
    pairs: Pairs = None,
    audio: Audio = None,
    at: opt.At = None,
    k: Annotated[int | None, typer.Option(help="Answers to each question, the best first (answer).")] = None,
) -> None:
    """Answer for examples, for everyone in a log, or for other sequences.

    A classifier writes entity, cutoff, prediction and probability, one row an example in the order given; a next-event
    model writes for every entity what it does next; others write what docs/ says of their task. Rows that could not be
    read are listed beside it in NAME.rejects.csv.

    Example:

        habitus predict runs/risk --events installs.parquet --out scores.parquet
    """
    refuse_format(out)
    when = None if at is None else moment(at)
    model = load_model(folder)
    name = model.task.name
    refuse_others({"events": events, "examples": examples, "pairs": pairs, "audio": audio}, model.sources, name)
    if name != NEXT_EVENT:
        refuse_given({"--at": at}, name)
    if name != ANSWER:
        refuse_given({"--k": k}, name)
    if is_judged_by_itself(model):
        how = {} if k is None else {"k": k}
        predict_task(model, {"events": events, "examples": examples, "pairs": pairs, "audio": audio}, out, **how)
        return
    read_from, rejects, noted = _sources(model, events, examples)
    scores: pl.DataFrame = model.predict(read_from[0], at=when) if name == NEXT_EVENT else model.predict(*read_from)
    paths = [write_scores(scores, out)]
    if rejects.total:
        paths.append(rejects.write_csv(out.with_name(f"{out.stem}.rejects.csv")))
    notes([*noted, *said(rejects)])
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


def _evaluate_next(model: SequenceModel, events: str, split: str | None, *, as_json: bool) -> None:
    from habitus.prepared import read_log

    log = read_log(events, model.data, model.encoder_.schema)
    found = model.evaluate(log, split)
    notes([*found.notes, *said(log.rejects)])
    document = found.to_json()
    print_json(document) if as_json else print_next_evaluation(document, model.name)


def _evaluate_labelled(
    model: SequenceModel, events: str | None, examples: str | None, *, include_training: bool, as_json: bool
) -> None:
    needed = ({"--events": events} if model.data.text is None else {}) | {"--examples": examples}
    for option, value in needed.items():
        if value is None:
            raise ConfigError(
                f"A model of the task '{model.task.name}' is judged on labelled examples: give "
                f"{' and '.join(needed)} ({option} is missing)."
            )
    read_from, rejects, noted = _sources(model, events, examples, with_target=True)
    found = model.evaluate(*read_from, include_training=include_training)
    notes([*noted, *(one for one in found.notes if one not in noted), *said(rejects)])
    document = found.to_json()
    print_json(document) if as_json else print_metrics(document, model.name)


def _sources(
    model: SequenceModel, events: str | None, examples: str | None, *, with_target: bool = False
) -> tuple[tuple[Any, Any], Rejects, list[str]]:
    """Read what a model reads; return it, all rejected rows, and sentences to say aloud."""
    if model.data.text is not None:
        from habitus.prepared import read_to_score

        target = model.task.target if with_target else None
        texts = read_to_score(model.encoder_, events, examples, model.data, target)
        return (None, texts), texts.examples.rejects, texts.examples.notes
    if events is None:
        raise ConfigError(f"A model of the task '{model.task.name}' reads a log: give --events.")
    log, rejects = _read(model, events, examples)
    return (log, examples), rejects, log.notes


def _read(model: SequenceModel, events: str, examples: str | None) -> tuple[EventLog, Rejects]:
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
