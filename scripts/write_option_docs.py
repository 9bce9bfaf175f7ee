"""Write docs/options.md: every key of the config file by task, from the dataclasses and their docstrings.

    python scripts/write_option_docs.py            write the file (`make docs`)
    python scripts/write_option_docs.py --check    exit 1 if the file is out of date (a test does this)

Covers the tasks whose data carries its own answers; docs/config.md says by hand what all tasks share. A key whose
meaning the docstring does not give stops the script.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "docs" / "options.md"
HEADER = """# Options of the other tasks

This page is written by `make docs` from the code. [config.md](config.md) says what a config file is, and what
`classify` and `next-event` take; `[training]` is the same for every task. In the tables, *none* means that the key may
be left out and has no value of its own; *required* that it may not.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it; return the exit code."""
    page = option_page()
    if "--check" not in arguments:
        TARGET.write_text(page, encoding="utf-8")
        print(f"wrote {TARGET.name} ({page.count('| `')} keys)")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == page:
        return 0
    print("docs/options.md does not say what the code says; run: make docs", file=sys.stderr)
    return 1


def option_page() -> str:
    """Return the page for all tasks that are registered."""
    from habitus.cli.specs import SPECS
    from habitus.model.task_model import TaskModel

    sections = [HEADER]
    for name, spec in SPECS.items():
        model = spec.load("model")
        if issubclass(model, TaskModel):
            kinds = {"task": model.task_kinds[name], "data": model.data_kind, "split": model.split_kind}
            sections += [f"## {name}\n"]
            sections += [
                f"### [{section}] of {name}\n\n" + "\n".join(_table(kind)) + "\n"
                for section, kind in [*kinds.items(), ("options", model.options_kind)]
            ]
    return "\n".join(sections)


def _table(kind: type) -> Iterator[str]:
    meanings = meanings_of(kind)
    yield "| key | default | meaning |\n|---|---|---|"
    for field in dataclasses.fields(kind):
        if field.name not in meanings:
            raise SystemExit(f"{kind.__module__}.{kind.__name__}: the docstring does not say what '{field.name}' is.")
        yield f"| `{field.name}` | {_shown(field)} | {meanings[field.name]} |"


def _shown(field: dataclasses.Field[Any]) -> str:
    factory = field.default_factory
    value = field.default if factory is dataclasses.MISSING else factory()
    if value is dataclasses.MISSING:
        return "*required*"
    return "*none*" if value is None else f"`{json.dumps(value)}`"


def meanings_of(kind: type) -> dict[str, str]:
    """Return what the docstring's "Args:" says of each name; one paragraph may stand for several names.

    >>> class Kind:
    ...     '''Do it.
    ...
    ...     Args:
    ...         one, two: the first
    ...             and the second.
    ...         three: the third.
    ...     '''
    >>> meanings_of(Kind)
    {'one': 'the first and the second', 'two': 'the first and the second', 'three': 'the third'}
    """
    text = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", "\n" + text.split("\n\n")[0]):
        names, mark, said = entry.strip().partition(":")
        if mark:
            meaning = " ".join(said.split()).rstrip(".").replace("|", "\\|")
            found |= {name.strip(): meaning for name in names.split(",")}
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
