"""Write docs/cli.md from the commands themselves, so that it says what `--help` says.

    python scripts/write_cli_docs.py            write the file (`make docs`)
    python scripts/write_cli_docs.py --check    exit 1 if the file is out of date (a test does this)

Walks the typer app by its attributes only (`commands`, `params`, `help`): newer typer carries its own copy of click,
so isinstance against click would not hold. Knows nothing about what the commands do.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(COLUMNS="100", NO_COLOR="1")  # before typer is imported: it reads both once

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
HEADER = """# The command line

This page is written by `make docs` from the commands themselves: change the code, not this page.
Results go to standard output, progress to standard error; exit codes: 0 done, 1 failed, 2 misused.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it; return the exit code."""
    page = cli_page()
    if "--check" not in arguments:
        TARGET.write_text(page, encoding="utf-8")
        print(f"wrote {TARGET.name} ({page.count('## ')} commands)")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == page:
        return 0
    print("docs/cli.md does not say what --help says; run: make docs", file=sys.stderr)
    return 1


def cli_page() -> str:
    """Return the page for `habitus.cli:app`."""
    import typer.main

    from habitus.cli import app

    return "\n".join([HEADER, *command_sections(typer.main.get_command(app), "habitus")])


def command_sections(command: Any, name: str, parent: Any = None) -> Iterator[str]:
    """Yield one section for a command and one for each command below it, in the order of `--help`."""
    context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield "\n".join(section_lines(command, name, context))
    for child_name in getattr(command, "commands", {}):
        child = command.commands[child_name]
        if not child.hidden:
            yield from command_sections(child, f"{name} {child_name}", context)


def section_lines(command: Any, name: str, context: Any) -> Iterator[str]:
    """Yield the lines of one command: usage, help, arguments and options, commands below it."""
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    # \\b and \\f are click's marks for "do not rewrap" and "end of help".
    text = inspect.cleandoc(command.help or "").partition("\f")[0].replace("\b\n", "")
    yield f"## {name}\n\n```\n{usage}\n```\n\n{text}\n"
    records = [(param, param.get_help_record(context)) for param in command.get_params(context)]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        rows = [one_row(record) for param, record in records if record and param.param_type_name == kind]
        if rows:
            yield f"**{title}**\n\n" + "\n".join(rows) + "\n"


def one_row(record: tuple[str, str]) -> str:
    """Return a list item for one argument or option.

    >>> one_row(("--seed INTEGER", "Seed of  every random choice.  [default: 0]"))
    '- `--seed INTEGER`: Seed of every random choice. [default: 0]'
    """
    names, text = (" ".join(part.split()) for part in record)
    return f"- `{names}`: {text}" if text else f"- `{names}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
