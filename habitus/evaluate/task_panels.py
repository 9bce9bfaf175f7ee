"""The pictures of a task's report, drawn from the plain data that `TaskModel.panels` gives.

    {"kind": "table",  "title", "caption", "columns", "rows"}
    {"kind": "matrix", "title", "caption", "labels", "matrix"}            rows are true, columns are answered
    {"kind": "heat",   "title", "caption", "rows", "columns", "matrix"}   shares from 0 to 1, such as attention
    {"kind": "lines",  "title", "caption", "x_label", "y_label", "lines": [{"name", "x", "y", "low", "high"}]}
    {"kind": "points", "title", "caption", "x_label", "y_label", "points": [{"name", "x", "y"}]}
    {"kind": "bars",   "title", "caption", "bars": [{"name", "value", "low", "high"}]}

A panel that cannot be read is left out, as every part of a report whose data is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from habitus.evaluate import charts
from habitus.evaluate._numbers import number

_MAX_LINES = 8
_MAX_ROWS = 60


def panel_contexts(given: object) -> list[dict[str, Any]]:
    """Return what the template shows of each panel."""
    panels = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    found = []
    for k, panel in enumerate(panels):
        try:
            shown = _SHOWN[str(panel.get("kind"))](f"panel-{k}", panel)
        except (KeyError, TypeError, ValueError):
            continue
        if shown:
            found.append({"title": str(panel.get("title", "")), "caption": str(panel.get("caption", "")), **shown})
    return found


def _table(name: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    rows = [[_cell(cell) for cell in row] for row in panel["rows"][:_MAX_ROWS]]
    return {"kind": "table", "columns": [str(one) for one in panel["columns"]], "rows": rows} if rows else {}


def _matrix(name: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    counts = np.array(panel["matrix"], float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    labels = [str(one) for one in panel["labels"]]
    return {"kind": "heat", "rows_": labels, "columns": labels, **_heat(shares, panel["matrix"])}


def _shares(name: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    shares = np.array(panel["matrix"], float)
    rows, columns = ([str(one) for one in panel[side]] for side in ("rows", "columns"))
    return {"kind": "heat", "rows_": rows, "columns": columns, **_heat(shares, shares.round(2).tolist())}


def _heat(shares: np.ndarray, shown: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {"cells": [list(zip(map(float, one), text, strict=True)) for one, text in zip(shares, shown, strict=True)]}


def _lines(name: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    lines = []
    for one in panel["lines"][:_MAX_LINES]:
        ends = [np.array(one[end], float) for end in ("low", "high") if one.get(end) is not None]
        both = ends if len(ends) == 2 else []
        lines.append(charts.Line(str(one["name"]), np.array(one["x"], float), np.array(one["y"], float), *both))
    if not lines:
        return {}
    return {"kind": "chart", "chart": charts.plain_chart(name, lines, str(panel["x_label"]), str(panel["y_label"]))}


def _points(name: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    groups = [
        charts.Line(str(one["name"]), np.array(one["x"], float), np.array(one["y"], float))
        for one in panel["points"][:_MAX_LINES]
    ]
    if not groups:
        return {}
    return {"kind": "chart", "chart": charts.points_chart(name, groups, str(panel["x_label"]), str(panel["y_label"]))}


def _bars(name: str, panel: Mapping[str, Any]) -> dict[str, Any]:
    bars = [dict(bar) for bar in panel["bars"][:_MAX_ROWS]]
    scale = max((number(bar.get("high")) or number(bar["value"]) or 0.0 for bar in bars), default=0.0)
    return {"kind": "bars", "bars": bars, "scale": scale} if bars else {}


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


_SHOWN = {"table": _table, "matrix": _matrix, "heat": _shares, "lines": _lines, "points": _points, "bars": _bars}
