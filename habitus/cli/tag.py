"""`habitus fit tag` and `habitus compare tag`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import typer

from habitus.cli import options as opt
from habitus.cli.task_run import COMMON, SHARES, run_compare, run_fit
from habitus.config import read_config

TAG = "tag"
Events = Annotated[
    str,
    typer.Option(
        help="The log: a Parquet, CSV or Arrow file, a folder of them, a glob; or files of tagged text (.conll, .bio)."
    ),
]

_TASK = opt.group(
    "Options",
    target=(str, "task.target", "Column that holds each event's label.", "tag, of text"),
    label_history=(bool, "task.label_history", "Read the labels of earlier events, which must be known by then.", "no"),
    direction=(Literal["past", "both"], "task.direction", "Which events a tag may depend on.", "past; both, of text"),
    scheme=(Literal["plain", "bio"], "task.scheme", "bio judges whole entities.", "plain; as the tags look, of text"),
    crf=(bool, "task.crf", "Score all tags of a row together; needs --direction both.", "no"),
)
_SPLITTING = opt.group(
    "Which sequences train and which judge",
    split_column=(str, "split.column", "Column that says train, validation or test.", "a random draw by entity"),
    **{name: (flag.kind, flag.key, flag.help, flag.default) for name, flag in SHARES.items()},
)
_READING = {name: flag for name, flag in opt.READING.items() if name != "cutoff"}
_LENGTH = opt.group(
    "How the data is read",
    max_length=(int, "data.max_length", "Most events that a tag depends on.", "512"),
)
_SHARED = {**_TASK, **COMMON, **_SPLITTING, **_READING, **_LENGTH}
_FLAGS = {**opt.TEXT_BACKBONE, "words": opt.TEXT["words"], **opt.STARTING, **_SHARED}


@opt.fits(_FLAGS)
def fit_tag(
    events: Events,
    run: opt.Run,
    start: opt.From = None,
) -> None:
    """Train a model that gives every event a label, and judge it.

    Two labels are judged by AUC, several by macro-F1, BIO tags by the F1 of whole entities, beside rivals that count.
    Writes the model, metrics.json and report.html into the folder.

    Example:

        habitus fit tag --events answers.parquet --target correct --label-history --out runs/tag
    """
    run = with_text_defaults(events, run)
    run_fit(TAG, run, {"events": events}, start)


@opt.compares(_SHARED)
def compare_tag(
    events: Events,
    run: opt.Run,
) -> None:
    """Train several taggers on the same sequences.

    Says which is best, rivals included, or that it is a tie. Writes compare.json and report.html.

    Example:

        habitus compare tag --events answers.parquet --target correct --label-history --out runs/compared
    """
    run = with_text_defaults(events, run)
    run_compare(TAG, run, {"events": events})


def with_text_defaults(events: str, run: opt.Run) -> opt.Run:
    """Return options with what files of tagged text want where neither the command line nor the config says otherwise.

    Text is tagged with all of a sentence in sight, and its tags are BIO tags where they look like them.
    """
    from habitus.data.tags.text_events import TAG as COLUMN
    from habitus.data.tags.text_events import find_text, looks_like_bio

    if not find_text(events):
        return run
    given = run.given
    said = read_config(run.config).get("task", {}) if run.config else {}
    said = {*said, *(text.partition("=")[0].removeprefix("task.").strip() for text in given.get("set") or ())}
    wanted = {"target": COLUMN, "direction": "both", "scheme": "bio" if looks_like_bio(events) else "plain"}
    if given.get("label_history") or "label_history" in said:
        del wanted["direction"]
    left = {name: value for name, value in wanted.items() if name not in said and given.get(name) is None}
    return replace(run, given={**given, **left})
