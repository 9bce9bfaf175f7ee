"""`habitus check`: what a log and its examples are, and what is wrong with them, before anything is trained.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from habitus.cli import options as opt
from habitus.cli.output import note, notes, one_line, print_json, say, table, wrote
from habitus.cli.settings import Settings, build_data, build_split, read_settings, target_of
from habitus.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from habitus.data.events import EventLog
    from habitus.data.examples import Examples

OptionalTable = Annotated[str | None, typer.Option(help="Table of examples: entity, cutoff, target, profile fields.")]


@opt.with_options(opt.TARGET, opt.SEED, opt.SETTING, opt.SPLITTING, opt.READING)
def check(
    events: opt.Events,
    examples: OptionalTable = None,
    config: opt.Config = None,
    rejects: Annotated[Path | None, typer.Option(help="CSV file to list rejected rows in.")] = None,
    as_json: opt.Json = False,
    **given: Any,
) -> None:
    """Say what a log and its examples are.

    Schema, counts, times, fields, duplicates, ties, lengths, rejected rows and leaks; then a verdict.

    Example:

        habitus check --events installs.parquet --examples labels.parquet --target risk
    """
    settings = read_settings(config, given)
    target = target_of(settings)
    if target and not examples:
        raise ConfigError("--target names a column of the examples; give their table with --examples.")
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
    n_warnings = sum(leak["severity"] == "warning" for leak in facts["leaks"]) + len(facts["troubles"])
    counts = [_n(facts["events"], "event") + " of " + _n(facts["entities"], "entity", "entities")]
    if examples:
        counts.append(_n(examples["n"], "example"))
    if n_rejected:
        counts.append(f"{_n(n_rejected, 'row')} rejected")
    standing = f"Settle {_n(n_warnings, 'warning')} first" if n_warnings else "Ready"
    return f"{standing}: {', '.join(counts)}."


def _print(facts: Mapping[str, Any]) -> None:
    examples = facts.get("examples") or {}
    table("", ["", facts["source"]], _summary(facts, examples), text=(0, 1))
    rows = [_field_row(one) for one in [*facts["fields"], *examples.get("profile", [])]]
    if rows:
        table("Fields", ["field", "of", "kind", "values", "missing", "examples or range"], rows, text=(0, 1, 2, 5))
    for named, rejects in (("log", facts["rejects"]), ("examples", examples.get("rejects") or {"n": 0})):
        if rejects["n"]:
            table(f"Rejected rows of the {named}", ["reason", "rows"], _counts(rejects["by_reason"]))
            for sample in rejects["samples"]:
                say(f"  {sample}")
    for leak in facts["leaks"]:
        say(f"{leak['severity']}: {leak['sentence']}", style="yellow" if leak["severity"] == "warning" else None)
    for trouble in facts["troubles"]:
        say(f"warning: {trouble}", style="yellow")
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
        ("events each", _lengths(facts["lengths"])),
        ("duplicates", f"{about}{facts['duplicates']['n']:,} events repeat another one"),
        ("ties", f"{about}{facts['ties']['n']:,} events share their time with another (kept in the log's order)"),
    ]
    if not examples:
        return rows
    low, high = examples["cutoff_range"]
    rows += [
        ("examples", f"{examples['n']:,} of {examples['entities']:,} entities"),
        ("cutoffs", f"'{examples['cutoff']}', {low} to {high}"),
        ("events before it", f"{_lengths(examples['lengths'])}; none for {examples['lengths']['empty']:,} examples"),
    ]
    if examples["target"]:
        rows.append(("target", _target(examples["target"], examples["n"])))
    if examples["split"]:
        rows.append(("split", ", ".join(f"{name} {n:,}" for name, n in examples["split"].items() if n)))
    return rows


def _lengths(lengths: Mapping[str, Any]) -> str:
    return f"median {lengths['median']:,.0f}, mean {lengths['mean']:,.1f}, most {lengths['max']:,}"


def _target(target: Mapping[str, Any], n: int) -> str:
    if "values" not in target:
        return f"{', '.join(target['labels'])} (several labels)"
    shown = [f"{one_line(one['value'])} {one['n'] / n:.1%}" for one in target["values"][:6]]
    rest = f" and {target['n_values'] - 6} more" if target["n_values"] > 6 else ""
    return f"'{target['name']}': {', '.join(shown)}{rest}"


def _field_row(field: Mapping[str, Any]) -> tuple[str, ...]:
    if field["kind"] == "category":
        shown = ", ".join(f"{_short(one['value'])} ({one['n']:,})" for one in field["commonest"])
        n_values = f"{field['n_values']:,}"
    else:
        shown, n_values = _range(field), "–"
    return field["name"], field["role"], field["kind"], n_values, f"{field['missing']:.1%}", shown


def _range(field: Mapping[str, Any]) -> str:
    if field["low"] is None:
        return "no value"
    return f"{field['low']:,.6g} to {field['high']:,.6g}, mean {field['mean']:,.6g}"


def _short(value: Any) -> str:
    text = one_line(str(value))
    return text if len(text) <= 24 else text[:23] + "…"


def _counts(by_reason: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(reason, f"{n:,}") for reason, n in sorted(by_reason.items(), key=lambda item: -item[1])]


def _n(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _write_rejects(path: Path, log: EventLog, judged: Examples | None) -> list[Path]:
    """Write the rejected rows of the log, and those of the examples beside them if there are any."""
    paths = [log.rejects.write_csv(path)]
    if judged is not None and judged.rejects.total:
        paths.append(judged.rejects.write_csv(path.with_name(f"{path.stem}.examples{path.suffix}")))
    return paths
