"""`habitus check`: what a log and its examples are, and what is wrong with them, before anything is trained.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from habitus.cli import options as opt
from habitus.cli.check_tables import (
    lengths_text,
    n_of,
    show_fields,
    show_findings,
    show_rejects,
    standing,
    target_text,
)
from habitus.cli.check_texts import check_texts, show_texts
from habitus.cli.output import note, notes, print_json, say, table, wrote
from habitus.cli.settings import Settings, build_data, build_split, read_settings, target_of
from habitus.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from habitus.data.events import EventLog
    from habitus.data.examples import Examples

OptionalTable = Annotated[str | None, typer.Option(help="Table of examples: entity, cutoff, target, profile fields.")]
_TEXT = {name: flag for name, flag in opt.TEXT.items() if name not in ("words", "token_pairs")}
_LENGTH = {"max_length": opt.LENGTH["max_length"]}


@opt.with_options(opt.TARGET, opt.SEED, opt.SETTING, opt.SPLITTING, opt.READING, _LENGTH, _TEXT)
def check(
    events: opt.EventsUnlessText = None,
    examples: OptionalTable = None,
    config: opt.Config = None,
    rejects: Annotated[Path | None, typer.Option(help="CSV file to list rejected rows in.")] = None,
    as_json: opt.Json = False,
    **given: Any,
) -> None:
    """Say what a log and its examples are, or a table of texts.

    Schema, counts, times, fields, duplicates, ties, lengths, rejected rows and leaks; then a verdict. With --text:
    empty texts, lengths in tokens, copies, contradicting labels, scripts, markup, and what gives the label away.

    Example:

        habitus check --events installs.parquet --examples labels.parquet --target risk
    """
    settings = read_settings(config, given)
    target = target_of(settings)
    if target and not examples:
        raise ConfigError("--target names a column of the examples; give their table with --examples.")
    build_data(settings).refuse_sources(events)
    if settings["data"].get("text") is not None:
        _check_texts(settings, examples, target, rejects, as_json=as_json)
        return
    assert events is not None, "refuse_sources has seen to it"
    log, judged = _read(settings, events, examples, target)
    part, trouble = _split(settings, judged)
    from habitus.audit import describe_data, find_leaks

    facts = describe_data(log, judged, part)
    leaks = [leak.to_json() for leak in find_leaks(log, judged, part)] if judged else []
    facts |= {"leaks": leaks, "troubles": trouble}
    facts["verdict"] = verdict(facts)
    print_json(facts) if as_json else _print(facts)
    if rejects:
        wrote(_write_rejects(rejects, log, judged))


def _check_texts(
    settings: Settings, examples: str | None, target: str | Sequence[str] | None, rejects: Path | None, *, as_json: bool
) -> None:
    if examples is None:
        raise ConfigError("--text names a column of the examples; give their table with --examples.")
    facts, rejected = check_texts(settings, examples, target)
    print_json(facts) if as_json else show_texts(facts)
    if rejects:
        wrote([rejected.write_csv(rejects)])


def _read(
    settings: Settings, events: str, examples: str | None, target: str | Sequence[str] | None
) -> tuple[EventLog, Examples | None]:
    from habitus.data.events import read_events
    from habitus.data.examples import read_examples

    data = build_data(settings)
    log = read_events(
        events,
        entity=data.entity,
        time=data.time,
        fields=data.fields,
        time_zone=data.time_zone,
        time_unit=data.time_unit,
        drop=data.drop,
    )
    if examples is None:
        return log, None
    how: dict[str, Any] = {"cutoff": data.cutoff, "drop": data.drop, "fields": data.fields}
    return log, read_examples(examples, log, target=target, **how)[0]


def _split(settings: Settings, judged: Examples | None) -> tuple[np.ndarray | None, list[str]]:
    """Return the part of each example; a split that is not possible is a trouble, not a failure of the check."""
    from habitus.data.next_split import NextSplit

    split = build_split(settings)
    if judged is None or isinstance(split, NextSplit):
        return None, []
    try:
        return split.assign(judged.frame, judged.schema.entity, judged.schema.cutoff), []
    except DataError as error:
        return None, [str(error)]


def verdict(facts: Mapping[str, Any]) -> str:
    """Sum a check up in one sentence.

    >>> verdict({"events": 2, "entities": 1, "rejects": {"n": 0}, "leaks": [], "troubles": []})
    'Ready: 2 events of 1 entity.'
    """
    examples = facts.get("examples")
    n_rejected = facts["rejects"]["n"] + (examples["rejects"]["n"] if examples else 0)
    counts = [n_of(facts["events"], "event") + " of " + n_of(facts["entities"], "entity", "entities")]
    if examples:
        counts.append(n_of(examples["n"], "example"))
    if n_rejected:
        counts.append(f"{n_of(n_rejected, 'row')} rejected")
    return f"{standing(facts)}: {', '.join(counts)}."


def _print(facts: Mapping[str, Any]) -> None:
    examples = facts.get("examples") or {}
    table("", ["", facts["source"]], _summary(facts, examples), text=(0, 1))
    show_fields([*facts["fields"], *examples.get("profile", [])])
    show_rejects("log", facts["rejects"])
    show_rejects("examples", examples.get("rejects") or {"n": 0})
    show_findings(facts)
    # The reader of examples suspects by name as well; the leak check above has said it better.
    notes(one for one in [*facts["notes"], *examples.get("notes", [])] if not one.startswith("Suspected leak"))
    say(facts["verdict"], style="bold")
    if examples and not examples["target"]:
        note("next: the same command with --target NAME, the column to predict")


def _summary(facts: Mapping[str, Any], examples: Mapping[str, Any]) -> list[tuple[str, str]]:
    first, last = facts["time_range"]
    about = "about " if facts["ties"]["estimated"] else ""
    rows = [
        ("entity, time", f"'{facts['entity']}', '{facts['time']}'"),
        ("events", f"{facts['events']:,} of {facts['entities']:,} entities"),
        ("time range", f"{first} to {last}"),
        ("events each", lengths_text(facts["lengths"])),
        ("duplicates", f"{about}{facts['duplicates']['n']:,} events repeat another one"),
        ("ties", f"{about}{facts['ties']['n']:,} events share their time with another (kept in the log's order)"),
    ]
    if not examples:
        return rows
    before, (low, high) = examples["lengths"], examples["cutoff_range"]
    rows += [
        ("examples", f"{examples['n']:,} of {examples['entities']:,} entities"),
        ("cutoffs", f"'{examples['cutoff']}', {low} to {high}"),
        ("events before it", f"{lengths_text(before)}; none for {before['empty']:,} examples"),
    ]
    if examples["target"]:
        rows.append(("target", target_text(examples["target"], examples["n"])))
    if examples["split"]:
        rows.append(("split", ", ".join(f"{name} {n:,}" for name, n in examples["split"].items() if n)))
    return rows


def _write_rejects(path: Path, log: EventLog, judged: Examples | None) -> list[Path]:
    """Write the rejected rows of the log, and those of the examples beside them if there are any."""
    paths = [log.rejects.write_csv(path)]
    if judged is not None and judged.rejects.total:
        paths.append(judged.rejects.write_csv(path.with_name(f"{path.stem}.examples{path.suffix}")))
    return paths
