"""What the pages of all runs share: the files of a run's folder, the templates, and text that is safe in HTML.

Needs the extra `report`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from habitus.errors import DataError, require
from habitus.evaluate import _numbers as numbers
from habitus.evaluate import _tables as tables
from habitus.evaluate import _words as words
from habitus.evaluate._words import Record

_TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = (
    "count",
    "decimal",
    "one_decimal",
    "percent",
    "missing",
    "interval",
    "duration",
    "moment",
    "short",
    "long",
    "sentence",
)
MAX_DETAILS = 20_000  # characters of the config and the model card
_MAX_COLUMNS = 6  # metrics beside each other; more go below


@dataclass(frozen=True)
class Run:
    """What the files of a run's folder say; an absent file is an empty record."""

    folder: Path
    metrics: Record
    data: Record
    history: list[Record]
    compare: Record
    model: Record
    card: str
    fingerprint: str  # SHA-256 of the bundle's manifest, which holds the hash of every file of it

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the files, refusing one that is there but damaged."""
        manifest, card = folder / "model" / "manifest.json", folder / "model" / "README.md"
        return cls(
            folder,
            _json(folder / "metrics.json", dict),
            _json(folder / "data.json", dict),
            [row for row in _json(folder / "history.json", list) if isinstance(row, Mapping)],
            _json(folder / "compare.json", dict),
            _json(folder / "model" / "model.json", dict),
            card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
            hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else "",
        )


def rendered(template: str, context: Mapping[str, Any]) -> str:
    """Return a page as a string."""
    return _without_controls(str(_environment().get_template(template).render(context)))


def details(run: Run) -> dict[str, Any]:
    """Return what every page says last: how to run it again, the config, the card and the fingerprints."""
    facts = tables.records(run.metrics, "run")
    return {
        "run": facts,
        "config": json.dumps(run.model, indent=2, ensure_ascii=False)[:MAX_DETAILS] if run.model else "",
        "card": run.card[:MAX_DETAILS],
        "fingerprint": run.fingerprint,
        "data_fingerprint": run.data.get("fingerprint") or facts.get("data_fingerprint"),
    }


def groups(rows: Sequence[tables.Row], main: str | None) -> list[list[str]]:
    """Return the metrics of these rows, the main one first, in groups that fit beside each other."""
    names = sorted(dict.fromkeys(name for row in rows for name in row.cells), key=lambda name: name != main)
    return [names[k : k + _MAX_COLUMNS] for k in range(0, len(names), _MAX_COLUMNS)]


def listed(target: object) -> str:
    """Return names in one line."""
    return ", ".join(map(str, target)) if isinstance(target, list) else str(target or "")


@functools.cache  # so that templates are compiled once
def _environment() -> Any:
    jinja2 = require("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a key that a file lacks prints as a dash
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(numbers, name) for name in _FILTERS}, metric_name=words.metric_name)
    return environment


def _json(path: Path, kind: type) -> Any:
    """Read a JSON file; an absent one is empty, a damaged one is refused."""
    if not path.is_file():
        return kind()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"'{path}' is not readable JSON ({error}); run the command that wrote it again.") from error
    if not isinstance(found, kind):
        raise DataError(f"'{path}' holds a {type(found).__name__}, not a {kind.__name__}; run what wrote it again.")
    return found


def _without_controls(page: str) -> str:
    """Show control characters, which HTML forbids, as the sign for a character that cannot be shown."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", page)
