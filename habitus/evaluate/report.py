"""One self-contained page about a run: `write_report("runs/churn")` writes `runs/churn/report.html`.

Reads the files that `fit`, `evaluate` and `compare` leave in the run's folder and nothing else: no data, no model.
Only metrics.json must be there; a part without its file says so. The page asks nothing of a network, runs no script,
and the same files give the same bytes. Ids and names come from data: every one is escaped. Needs the extra `report`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from habitus.errors import DataError, require
from habitus.evaluate import _numbers as numbers
from habitus.evaluate import _panels as panels
from habitus.evaluate import _scores as sc
from habitus.evaluate import _tables as tables
from habitus.evaluate import _words as words
from habitus.evaluate._numbers import Estimate
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
_MAX_DETAILS = 20_000  # characters of the config and the model card
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


def write_report(run_folder: str | Path) -> Path:
    """Write DIR/report.html from the JSON and Parquet files of a run's folder, and return its path.

    Args:
        run_folder: what `habitus fit ... --out DIR` left; metrics.json must be in it.

    Raises:
        DataError: if the folder or its metrics.json is absent, or a file of it is damaged.
        MissingExtraError: if jinja2 or matplotlib is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "metrics.json").write_text('{"target": "risk", "n": 9, "metrics": {"auc": 0.8}}')
    ...     write_report(folder).name
    'report.html'
    """
    folder = Path(run_folder)
    if not (folder / "metrics.json").is_file():
        raise DataError(
            f"'{folder}' has no metrics.json, so there is nothing to report; "
            "give the folder that `habitus fit --out` wrote, or run `habitus evaluate` first."
        )
    page = render(Run.read(folder))
    unfinished = folder / "report.html.part"
    unfinished.write_bytes(page.encode("utf-8", "replace"))
    os.replace(unfinished, folder / "report.html")
    return folder / "report.html"


def render(run: Run) -> str:
    """Return the page as a string."""
    return _without_controls(str(_environment().get_template("report.html").render(_context(run))))


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


def _context(run: Run) -> dict[str, Any]:
    own = tables.records(run.metrics, "metrics")
    main = words.primary(own, run.metrics.get("primary") or run.compare.get("primary"))
    model_name = tables.own_name(run.metrics, run.compare, main)
    rows = tables.model_rows(run.metrics, run.compare, model_name)
    differences = tables.difference_rows(run.metrics, run.compare, model_name, [row.name for row in rows])
    answer = tables.answer(run.metrics, run.compare, rows, differences, main)
    scores = _scores(run, [row.name for row in rows[1:]])
    return {
        "run": tables.records(run.metrics, "run"),
        "metrics": run.metrics,
        "target": _listed(run.metrics.get("target")),
        "data": run.data,
        "parts": panels.parts(run.data),
        "notes": [*(run.data.get("notes") or []), *(run.metrics.get("notes") or [])],
        "compare": run.compare,
        "model_name": model_name,
        "answer": answer,
        "main": main,
        "main_estimate": rows[0].estimate(main) if main else None,
        "metric_groups": _groups(rows, main),
        "difference_groups": _groups(differences, main),
        "explained": {name: words.METRICS[name][1] for row in rows for name in row.cells if name in words.METRICS},
        "rows": tables.on_a_scale(rows, main),
        "differences": tables.on_a_scale(differences, main, zero=True),
        **panels.curves(scores, model_name),
        **panels.bands(scores),
        "calibration": panels.calibration(run.metrics),
        "confusion": panels.confusion(run.metrics, scores),
        **panels.learning(run.history),
        **panels.lengths(run.data),
        "commonest": panels.commonest(run.data),
        "best_possible": Estimate.read(run.compare.get("best_possible_auc")),
        "config": json.dumps(run.model, indent=2, ensure_ascii=False)[:_MAX_DETAILS] if run.model else "",
        "card": run.card[:_MAX_DETAILS],
        "fingerprint": run.fingerprint,
        "data_fingerprint": run.data.get("fingerprint") or tables.records(run.metrics, "run").get("data_fingerprint"),
        "cautions": words.cautions(
            run.metrics,
            run.data,
            run.history,
            standing=answer["standing"],
            n_intervals=sum(row.n_judged for row in differences),
            n_unusable=scores.n_unusable if scores else 0,
        ),
    }


def _groups(rows: Sequence[tables.Row], main: str | None) -> list[list[str]]:
    """Return the metrics of these rows, the main one first, in groups that fit beside each other."""
    names = sorted(dict.fromkeys(name for row in rows for name in row.cells), key=lambda name: name != main)
    return [names[k : k + _MAX_COLUMNS] for k in range(0, len(names), _MAX_COLUMNS)]


def _listed(target: object) -> str:
    return ", ".join(map(str, target)) if isinstance(target, list) else str(target or "")


def _scores(run: Run, rivals: Sequence[str]) -> sc.Scores | None:
    path = run.folder / "test_scores.parquet"
    if not path.is_file():
        return None
    return sc.read_scores(path, run.metrics.get("target") or "target", run.metrics.get("labels") or [], rivals)


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
