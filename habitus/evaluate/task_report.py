"""The report of a task whose data carries its own answers: what its template shows, from the files of the run's
folder alone.

Incomplete files make an incomplete page, not an error. See `report.py` for how a page is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from habitus.evaluate import _panels as panels
from habitus.evaluate import _tables as tables
from habitus.evaluate import _words as words
from habitus.evaluate._page import Run, details, groups, listed
from habitus.evaluate.task_panels import panel_contexts


def task_context(run: Run) -> dict[str, Any]:
    """Return what the template shows."""
    own = tables.records(run.metrics, "metrics")
    main = words.primary(own, run.metrics.get("primary") or run.compare.get("primary"))
    name = tables.own_name(run.metrics, run.compare, main)
    unit = str(run.metrics.get("unit") or "examples")
    rows = tables.model_rows(run.metrics, run.compare, name)
    differences = tables.difference_rows(run.metrics, run.compare, name, [row.name for row in rows])
    answer = tables.answer(run.metrics, run.compare, rows, differences, main, f"test {unit}")
    notes = [*(run.data.get("notes") or []), *(run.metrics.get("notes") or [])]
    return {
        **details(run),
        "metrics": run.metrics,
        "unit": unit,
        "target": listed(run.metrics.get("target")),
        "data": run.data,
        "facts": _facts(run.data),
        "parts": list(tables.records(run.data, "parts").items()),
        "rejects": tables.records(run.data, "rejects"),
        "notes": list(dict.fromkeys(map(str, notes))),
        "compare": run.compare,
        "model_name": name,
        "answer": answer,
        "main": main,
        "main_estimate": rows[0].estimate(main) if main else None,
        "metric_groups": groups(rows, main),
        "difference_groups": groups(differences, main),
        "explained": {one: words.METRICS[one][1] for row in rows for one in row.cells if one in words.METRICS},
        "rows": tables.on_a_scale(rows, main),
        "differences": tables.on_a_scale(differences, main, zero=True),
        "protocol": [(str(key), str(value)) for key, value in tables.records(run.metrics, "protocol").items()],
        **panels.cost(rows, main),
        "panels": panel_contexts(run.metrics.get("panels")),
        **panels.learning(run.history),
        "cautions": _cautions(run, answer["standing"], sum(row.n_judged for row in differences)),
    }


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return plain facts of the data, one a line; nested ones in one line each."""
    found = []
    for name, value in tables.records(data, "facts").items():
        if isinstance(value, Mapping):
            value = ", ".join(
                f"{key} {one:,}" if isinstance(one, int) else f"{key} {one}" for key, one in value.items()
            )
        found.append((str(name).replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)))
    return found


def _cautions(run: Run, standing: str, n_intervals: int) -> list[str]:
    """Return sentences about what the figures do not say."""
    found = [
        "The intervals cover the luck of drawing these test units. They do not cover another seed, another period or "
        "other people: judge again on newer data before relying on it."
    ]
    if standing in ("tie", "worse"):
        verb = "ties with" if standing == "tie" else "stands behind"
        found.append(f"The model {verb} its best rival: the rival is cheaper, and as good here.")
    if n_intervals > 1:
        found.append(f"{n_intervals} intervals are judged on this page: one in twenty would miss 0 by chance alone.")
    if tables.records(run.data, "rejects").get("n_rejected"):
        found.append("Some rows could not be read; see the section on the data.")
    return found
