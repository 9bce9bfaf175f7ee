"""What both kinds of `habitus check` print: fields, rejected rows, findings, and counts in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from habitus.cli.output import one_line, say, table


def standing(facts: Mapping[str, Any]) -> str:
    """Say whether the data can be used, from what was found.

    >>> standing({"leaks": [], "troubles": ["no split is possible"]})
    'Settle 1 warning first'
    """
    n_warnings = sum(leak["severity"] == "warning" for leak in facts["leaks"]) + len(facts["troubles"])
    return f"Settle {n_of(n_warnings, 'warning')} first" if n_warnings else "Ready"


def show_fields(fields: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of fields, if there are any."""
    rows = [field_row(one) for one in fields]
    if rows:
        table("Fields", ["field", "of", "kind", "values", "missing", "examples or range"], rows, text=(0, 1, 2, 5))


def show_rejects(named: str, rejects: Mapping[str, Any]) -> None:
    """Print why rows were rejected, and some of them."""
    if rejects["n"]:
        table(f"Rejected rows of the {named}", ["reason", "rows"], counts_of(rejects["by_reason"]))
        for sample in rejects["samples"]:
            say(f"  {sample}")


def show_findings(facts: Mapping[str, Any]) -> None:
    """Print leaks and troubles."""
    for leak in facts["leaks"]:
        say(f"{leak['severity']}: {leak['sentence']}", style="yellow" if leak["severity"] == "warning" else None)
    for trouble in facts["troubles"]:
        say(f"warning: {trouble}", style="yellow")


def lengths_text(lengths: Mapping[str, Any]) -> str:
    """Say what lengths are like."""
    return f"median {lengths['median']:,.0f}, mean {lengths['mean']:,.1f}, most {lengths['max']:,}"


def target_text(target: Mapping[str, Any], n: int) -> str:
    """Say which values a target has, and how often."""
    if "values" not in target:
        return f"{', '.join(target['labels'])} (several labels)"
    shown = [f"{one_line(one['value'])} {one['n'] / n:.1%}" for one in target["values"][:6]]
    rest = f" and {target['n_values'] - 6} more" if target["n_values"] > 6 else ""
    return f"'{target['name']}': {', '.join(shown)}{rest}"


def field_row(field: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the row of a field in a table of fields."""
    if field["kind"] != "number":
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


def counts_of(by_reason: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return reasons and their counts, the commonest first."""
    return [(reason, f"{n:,}") for reason, n in sorted(by_reason.items(), key=lambda item: -item[1])]


def n_of(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
