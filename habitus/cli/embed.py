"""`habitus fit embed`, `habitus compare embed` and `habitus embed`: vectors for texts and for histories."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from habitus.cli import options as opt
from habitus.cli.output import notes, say, wrote
from habitus.cli.scoring import load_model, refuse_format, said, write_scores
from habitus.cli.task_run import COMMON, run_compare, run_fit
from habitus.errors import ConfigError

EMBED = "embed"
Examples = Annotated[
    str | None,
    typer.Option(help="Table of texts, one or two columns of them, and perhaps a target.", show_default=False),
]
Events = Annotated[
    str | None,
    typer.Option(help="The log whose histories are embedded, where there are no texts.", show_default=False),
]
Size = Annotated[int | None, typer.Option(help="Cut the vectors to this width; good for the --sizes of the fit.")]

_TASK = opt.group(
    "Options",
    target=(
        str,
        "task.target",
        "Column: how alike two texts are, 0/1 whether they belong together, or the class of one text.",
        "two texts of a row belong together; one text is learned alone",
    ),
    loss=(
        Literal["auto", "cosent", "cosine", "negatives", "dropout", "slices"],
        "task.loss",
        "How it is learned.",
        "auto: what fits the target",
    ),
    temperature=(float, "task.temperature", "Divides cosines; smaller looks harder at the nearest strangers.", "0.05"),
    size=(int, "task.size", "Width of the vectors.", "that of the backbone"),
    sizes=(str, "task.sizes", "Widths to which vectors may be cut, commas between (Matryoshka).", None),
    pooling=(
        Literal["mean", "cls", "attention", "max", "last", "count"],
        "backbone.pooling",
        "How states become one vector.",
        "mean",
    ),
)
_TEXT = {name: flag for name, flag in opt.TEXT.items() if name != "words"}
_SHARED = {**_TASK, **COMMON, **opt.SPLITTING, **_TEXT, **opt.READING, **opt.LENGTH}
_FLAGS = {**opt.TEXT_BACKBONE, **opt.STARTING, **_SHARED}
_COMPARED = {name: flag for name, flag in _SHARED.items() if name != "pooling"}


@opt.fits(_FLAGS)
def fit_embed(
    run: opt.Run,
    examples: Examples = None,
    events: Events = None,
    start: opt.From = None,
) -> None:
    """Train a model that gives texts, or histories of a log, vectors that are close where they mean the same.

    Scored pairs are judged by rank correlation, all else by how early the right one is found, beside TF-IDF and means
    of word vectors. With --events in place of --text, entities of a log get vectors. Writes the model, metrics.json and
    report.html into the folder.

    Example:

        habitus fit embed --text sentence1,sentence2 --target score --examples pairs.csv --out runs/alike
    """
    run_fit(EMBED, with_sizes(run), _sources(examples, events), start)


@opt.compares(_COMPARED)
def compare_embed(
    run: opt.Run,
    examples: Examples = None,
    events: Events = None,
) -> None:
    """Train several embedding models on the same texts or histories.

    Says which is best, rivals included, or that it is a tie. Writes compare.json and report.html.

    Example:

        habitus compare embed --text sentence1,sentence2 --target score --examples pairs.csv --out runs/compared
    """
    run_compare(EMBED, with_sizes(run), _sources(examples, events))


def embed(
    folder: opt.RunFolder,
    out: opt.Scores,
    text: Annotated[
        str | None, typer.Option(help="Column of the texts.  [default: the first one of the fit]", metavar="NAME")
    ] = None,
    examples: Annotated[str | None, typer.Option(help="Table of the texts, or of entities and cutoffs.")] = None,
    events: Annotated[str | None, typer.Option(help="The log, of a model of histories.")] = None,
    size: Size = None,
) -> None:
    """Write the vector of every text, or of every entity of a log.

    Columns: which row or entity it is, then vector_0, vector_1 and so on, of length one for a model of fit embed. A
    classifier or a regressor gives the state that its answer is made of.

    Example:

        habitus embed runs/alike --text sentence --examples sentences.csv --out vectors.parquet
    """
    refuse_format(out)
    model: Any = load_model(folder)
    if model.task.name not in (EMBED, "classify", "regress", "pretrain"):
        raise ConfigError(f"A model of the task '{model.task.name}' gives no vectors; fit one with habitus fit embed.")
    keys, vectors, told, rejects = _embedded(model, text, examples, events, size)
    from habitus.model.text_vectors import vector_columns

    paths = [write_scores(keys.hstack(vector_columns(vectors)), out)]
    if rejects is not None and rejects.total:
        paths.append(rejects.write_csv(out.with_name(f"{out.stem}.rejects.csv")))
        told = [*told, *said(rejects)]
    notes(told)
    say(f"{len(vectors):,} vectors of {vectors.shape[1]} numbers in {out}.")
    wrote(paths)


def with_sizes(run: opt.Run) -> opt.Run:
    """Return the same with --sizes as numbers."""
    written = run.given.get("sizes")
    if written is None:
        return run
    parts = [part.strip() for part in str(written).split(",")]
    if not all(part.isdigit() for part in parts):
        raise ConfigError(f"--sizes {written!r} are no widths; write for example --sizes 256,64.")
    return replace(run, given={**run.given, "sizes": [int(part) for part in parts]})


def _sources(examples: str | None, events: str | None) -> dict[str, str | None]:
    if (examples is None) == (events is None):
        raise ConfigError(
            "Give either a table of texts (--examples, with --text) or a log whose histories are embedded (--events)."
        )
    return {"events": events} if examples is None else {"examples": examples}


def _embedded(
    model: Any, text: str | None, examples: str | None, events: str | None, size: int | None
) -> tuple[Any, Any, list[str], Any]:
    """Return who the vectors are of, the vectors, sentences to say aloud, and rejected rows."""
    if model.task.name == EMBED:
        source = events if model.data.text is None else examples
        if source is None:
            wanted = "--events" if model.data.text is None else "--examples"
            raise ConfigError(f"This model embeds {'histories' if wanted == '--events' else 'texts'}: give {wanted}.")
        keys, vectors = model.embed_table(source, text, size=size)
        return keys, vectors, list(model.notes_), model.rejects_
    from habitus.cli.task_scoring import refuse_given

    refuse_given({"--text": text, "--size": size}, model.task.name)
    from habitus.model.pooled import pooled_states

    return pooled_states(model, events, examples)
