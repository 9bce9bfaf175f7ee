"""Options that several commands share, declared once, and how they map to the sections of a config file.

A command takes a group by `@with_options(READING, ...)` and receives it as keyword arguments. An option that is not
given is None, so that the config file, and then the dataclass, decides. Imports nothing heavy.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer

Events = Annotated[str, typer.Option(help="The log: a Parquet, CSV or Arrow file, a folder of them, or a glob.")]
Table = Annotated[str, typer.Option(help="Table of examples: entity, cutoff, target, profile fields.")]
Out = Annotated[Path, typer.Option(help="Folder of the run, made if absent.")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder that `habitus fit --out` wrote, or a saved model.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint that a stopped run left.")]
Backbones = Annotated[
    str, typer.Option(help="Backbones to train, of transformer, gru, lstm and rnn; the first one fills DIR.")
]
Preset = Annotated[
    Literal["fast", "best", "timed"] | None,
    typer.Option(help="Options for a purpose, below all others. timed is told when the next event happens."),
]
Scores = Annotated[Path, typer.Option(help="File to write: .parquet, .csv or .arrow.")]
At = Annotated[
    str | None, typer.Option(help="When the next event happens, for a model that was told: 2024-01-31T10:00Z.")
]
Config = Annotated[Path | None, typer.Option(help="TOML or JSON file of options; what is given here wins over it.")]


@dataclass(frozen=True)
class Flag:
    """One option of the command line that stands for a key of the config file.

    Args:
        kind: type of the value.
        key: "section.key", or a key without a section.
        help: one sentence.
        default: what holds if neither the command line nor the config says anything, in words.
        panel: heading in `--help`.
    """

    kind: Any
    key: str
    help: str
    default: str | None = None
    panel: str = "Options"


def _group(panel: str, **flags: tuple[Any, str, str, str | None]) -> dict[str, Flag]:
    return {name: Flag(*flag, panel=panel) for name, flag in flags.items()}


READING = _group(
    "How the data is read",
    entity=(str, "data.entity", "Column that says whose event it is.", "a well-known name"),
    time=(str, "data.time", "Column that says when.", "a well-known name"),
    time_zone=(str, "data.time_zone", "Zone of times written without one, such as UTC.", "refuse them"),
    time_unit=(Literal["s", "ms", "us", "ns"], "data.time_unit", "Unit of times written as numbers.", "by size"),
    cutoff=(str, "data.cutoff", "Column of the examples: only events strictly before it are read.", "cutoff"),
    drop=(list[str], "data.drop", "Column to leave out; may be repeated.", None),
    field=(list[str], "data.fields", "Meaning of a column, category or number; may be repeated.", None),
)
LENGTH = _group(
    "How the data is read",
    max_length=(int, "data.max_length", "Most events in a row.", "512"),
    history=(Literal["latest", "windows"], "data.history", "What becomes of longer histories.", "latest"),
)
SPLITTING = _group(
    "Which examples train and which judge",
    split=(Literal["entity", "time", "new-entities"], "split.by", "How examples are divided.", "entity"),
    validation=(float, "split.validation", "Share that chooses the best epoch.", "0.15"),
    test=(float, "split.test", "Share that judges.", "0.2"),
)
TARGET = _group(
    "Options",
    target=(list[str], "task.target", "Column to predict; repeated, the target has several labels.", None),
)
SEED = _group("Training", seed=(int, "seed", "Seed of every random choice.", "0"))
TRAINING = _group(
    "Training",
    class_weight=(str, "task.class_weight", "'balanced' weighs rare classes up.", "equal"),
    epochs=(int, "training.epochs", "Most passes over the training rows.", "14"),
    learning_rate=(float, "training.learning_rate", "Learning rate at its highest.", "0.001"),
    batch_tokens=(int, "training.batch_tokens", "Most events (with padding) in a batch.", "8192"),
    threads=(int, "training.threads", "Threads of torch; part of what makes a run repeatable.", "torch's choice"),
    calibration=(
        Literal["none", "platt", "isotonic", "temperature"],
        "options.calibration",
        "How probabilities are mapped, fitted on validation.",
        "none",
    ),
)
SETTING = _group(
    "Training",
    set=(list[str], "", "Any key of the config file; may be repeated.", None),
)
NEXT_TASK = _group(
    "Options",
    item=(str, "task.item", "Category field to predict: an item, an app, an action.", "item_id"),
    also=(list[str], "task.also", "Other field to predict with it; may be repeated.", None),
    query_time=(float, "task.query_time", "Share of training rows that are told when the next event happens.", "0.0"),
)
NEXT_SPLITTING = _group(
    "Which events train and which judge",
    split=(Literal["leave-one-out", "temporal", "entities", "none"], "split.by", "Which events judge.", "temporal"),
)
NEXT_READING = {name: flag for name, flag in READING.items() if name != "cutoff"}
NEXT_LENGTH = _group(
    "How the data is read",
    max_length=(int, "data.max_length", "Most events that an answer reads; training reads all.", "512"),
)
NEXT_TRAINING = {name: flag for name, flag in TRAINING.items() if name not in ("class_weight", "calibration")}
ALL: Mapping[str, Flag] = {
    **READING, **LENGTH, **SPLITTING, **TARGET, **SEED, **TRAINING, **SETTING, **NEXT_TASK,
    "backbone": Flag(str, "backbone.name", "Body: transformer, gru, lstm or rnn.", "transformer", "Training"),
}  # fmt: skip
_METAVARS = {
    "value": "NAME",
    "target": "NAME",
    "drop": "NAME",
    "item": "FIELD",
    "also": "FIELD",
    "field": "NAME=KIND",
    "set": "SECTION.KEY=VALUE",
}
BACKBONE = {"backbone": ALL["backbone"]}


def with_options(*groups: Mapping[str, Flag]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add groups of options to a command, which takes them as `**given`."""
    flags = {name: flag for group in groups for name, flag in group.items()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        kept = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [_parameter(name, flag) for name, flag in flags.items()]

        @functools.wraps(command)
        def with_all(*args: Any, **kwargs: Any) -> None:
            command(*args, **kwargs)

        del with_all.__wrapped__  # typer shall read the signature below
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*kept, *added)]
        with_all.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_all.__annotations__ = {one.name: one.annotation for one in parameters}
        return with_all

    return decorate


def _parameter(name: str, flag: Flag) -> inspect.Parameter:
    shown = f"{flag.help}  [default: {flag.default}]" if flag.default else flag.help
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=shown,
        show_default=False,
        metavar=_METAVARS.get(name),
        rich_help_panel=flag.panel,
    )
    kind: Any = Annotated[Optional[flag.kind], option]  # noqa: UP045
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
