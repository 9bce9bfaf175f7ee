"""What commands print: results on stdout, notes and errors on stderr. Text from the data is never read as markup."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_PIPES = 160  # columns of a table that goes to a file or another program


def console(file: TextIO) -> Console:
    """Return a console on a stream."""
    from rich.console import Console

    width = None if file.isatty() else _WIDTH_OF_PIPES
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def note(sentence: str, *, style: str | None = None) -> None:
    """Say a sentence on stderr."""
    _say(sys.stderr, sentence, style)


def say(sentence: str, *, style: str | None = None) -> None:
    """Say a sentence of the result on stdout."""
    _say(sys.stdout, sentence, style)


def notes(sentences: Iterable[str]) -> None:
    """Say several sentences on stderr, each once."""
    for sentence in dict.fromkeys(sentences):
        note(f"note: {sentence}", style="yellow" if "leak" in sentence.lower() else None)


def fail(sentence: str) -> None:
    """Say on stderr, in one line, why a command failed."""
    note(f"Error: {one_line(sentence)}", style="red")


def wrote(paths: Iterable[object], following: str | None = None) -> None:
    """Say what a command wrote and which command comes next."""
    note(f"wrote {', '.join(str(path) for path in paths)}")
    if following:
        note(f"next: {following}")


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, text: Collection[int] = (0,)) -> None:
    """Print a table on stdout; the columns in `text` stand left, the others are figures."""
    from rich import box
    from rich.table import Table

    printed = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for number, heading in enumerate(headings):
        printed.add_column(heading, justify="left" if number in text else "right", overflow="fold")
    for row in rows:
        printed.add_row(*(one_line(cell) for cell in row))
    console(sys.stdout).print(printed)


COSTS = ("seconds to learn", "MiB at the peak", "parameters")


def cost_cells(model: Mapping[str, Any]) -> list[str]:
    """Return what a model of a comparison cost, under the headings `COSTS`.

    >>> cost_cells({"seconds": 3.14, "peak_mib": 310.4, "parameters": 81233}), cost_cells({})
    (['3.1', '310', '81,233'], ['–', '–', '–'])
    """
    forms = {"seconds": ",.1f", "peak_mib": ",.0f", "parameters": ","}
    return ["–" if model.get(name) is None else format(model[name], form) for name, form in forms.items()]


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout, strictly: what is not a finite number is null.

    >>> print_json({"auc": float("nan"), "n": 3})
    {
      "auc": null,
      "n": 3
    }
    """
    print(json.dumps(_plain(document), indent=2, allow_nan=False, default=str))


def one_line(text: str) -> str:
    r"""Return text on one line, without characters that move the cursor or ring the bell.

    >>> one_line("two\n lines \x1b[31m")
    'two lines \\x1b[31m'
    """
    plain = " ".join(str(text).split())
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in plain)


def _say(stream: TextIO, sentence: str, style: str | None) -> None:
    from rich.text import Text

    console(stream).print(Text(one_line(sentence), style=style or ""), soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
