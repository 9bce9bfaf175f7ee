"""Commands whose `--help` groups the options by subject and ends with an example.

The example stands last in a docstring, under "Example:". Help is plain text: it takes half the time of typer's boxes,
and brackets in it are brackets.
"""

from __future__ import annotations

import copy
import shlex
from typing import Any

from typer.core import TyperCommand, TyperGroup

_MARK = "Example:"
_ORDER = ("demo", "check", "fit", "evaluate", "compare", "predict", "recommend", "report", "simulate")


def example_of(text: str | None) -> str:
    """Return the example in a help text, on one line; empty if there is none.

    >>> example_of("Do it.\\n\\nExample:\\nhabitus check --events log.csv")
    'habitus check --events log.csv'
    """
    return " ".join((text or "").partition(_MARK)[2].split())


def command_line(given: Any) -> str:
    """Return what was typed, as it can be typed again; empty when it is not known."""
    return shlex.join(["habitus", *given]) if given else ""


class Command(TyperCommand):
    """A command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, the example last."""
        TyperCommand.format_help(_example_last(self), ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, a section for each subject."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                is_argument = param.param_type_name == "argument"
                heading = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or "Options"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Group(TyperGroup):
    """A command with commands below it, listed in the order in which they are mostly used."""

    def __init__(self, *, commands: Any = None, **options: Any) -> None:
        ordered = sorted((commands or {}).items(), key=lambda item: _ORDER.index(item[0]) if item[0] in _ORDER else 99)
        super().__init__(commands=dict(ordered), **options)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, the example last."""
        TyperGroup.format_help(_example_last(self), ctx, formatter)


def _example_last(command: Any) -> Any:
    moved = copy.copy(command)
    moved.help = (command.help or "").partition(_MARK)[0].rstrip()
    moved.epilog = f"\b\n{_MARK}\n  {example_of(command.help)}"
    return moved
