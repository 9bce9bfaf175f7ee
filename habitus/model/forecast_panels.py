"""Pictures of forecasts for the report, as plain data: one origin with its band, and errors by step and by variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from habitus.data.series.forecasts import Answer, Truth
from habitus.data.series.rows import Origins
from habitus.metrics.forecast import errors_by_step, n_answered

_PAST = 2  # horizons of the past that are shown
_MODEL = "model"


def forecast_panels(rows: Origins, truth: Truth, answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
    """Return the panels; answers are of "model" and of each rival, by name."""
    found = [_one_origin(rows, truth, answers[_MODEL]), _by_step(truth, answers)]
    if truth.values.shape[2] > 1:
        found.append(_by_variable(rows, truth, answers))
    return [*found, _answered(truth, answers)]


def _one_origin(rows: Origins, truth: Truth, answer: Answer) -> dict[str, Any]:
    """Show the origin whose error is the median one: neither the best nor the worst."""
    variable = truth.values.shape[2] - 1
    error = _mean(_errors(truth, answer)[:, :, variable], axis=1)
    order = np.argsort(np.nan_to_num(error, nan=np.inf), kind="stable")
    i = int(order[np.isfinite(error).sum() // 2])
    start = rows.table.offsets[rows.series[i]]
    past = np.arange(max(start, rows.at[i] - _PAST * rows.horizon), rows.at[i])
    future = np.arange(1, rows.horizon + 1)
    forecast: dict[str, Any] = {"name": "forecast", "x": future.tolist(), "y": _plain(answer.point[i, :, variable])}
    band = [k for k, level in enumerate(answer.levels) if abs(level - 0.1) < 1e-9 or abs(level - 0.9) < 1e-9]
    if answer.quantiles is not None and len(band) == 2:
        low, high = (_plain(answer.quantiles[i, :, variable, k]) for k in band)
        forecast |= {"low": low, "high": high}
    moment = str(np.array(rows.table.time_us[rows.at[i]], "M8[us]").astype("M8[m]"))
    seen = np.concatenate([rows.table.values[past, variable], truth.values[i, :, variable]])
    steps = np.concatenate([past - rows.at[i] + 1, future])
    known = ~np.isnan(seen)
    return {
        "kind": "lines",
        "title": f"A forecast of {rows.table.variables[variable]}",
        "caption": f"Series {rows.names[i]}, from {moment}Z on: the origin whose error is the median one. The band is "
        "from the 10 % to the 90 % quantile.",
        "x_label": f"steps of {rows.table.step} from the origin",
        "y_label": rows.table.variables[variable],
        "lines": [{"name": "truth", "x": steps[known].tolist(), "y": _plain(seen[known])}, forecast],
    }


def _by_step(truth: Truth, answers: Mapping[str, Answer]) -> dict[str, Any]:
    n_steps = truth.values.shape[1]
    return {
        "kind": "lines",
        "title": "Error by step of the horizon",
        "caption": "Mean absolute error on the scale of the training part, over the origins that each answered.",
        "x_label": "steps ahead",
        "y_label": "mean absolute error",
        "lines": [
            {"name": name, "x": list(range(1, n_steps + 1)), "y": _plain(errors_by_step(truth, answer))}
            for name, answer in answers.items()
        ],
    }


def _by_variable(rows: Origins, truth: Truth, answers: Mapping[str, Answer]) -> dict[str, Any]:
    columns = {
        name: [f"{one:.3f}" for one in _mean(_errors(truth, answer), axis=(0, 1))] for name, answer in answers.items()
    }
    return {
        "kind": "table",
        "title": "Error by variable",
        "caption": "Mean absolute error on the scale of the training part.",
        "columns": ["variable", *columns],
        "rows": [[name, *(one[v] for one in columns.values())] for v, name in enumerate(rows.table.variables)],
    }


def _answered(truth: Truth, answers: Mapping[str, Answer]) -> dict[str, Any]:
    return {
        "kind": "table",
        "title": "Origins that each answered",
        "caption": "Differences are paired on the origins that both answered.",
        "columns": ["model or rival", "origins"],
        "rows": [[name, f"{n_answered(truth, answer):,} of {len(truth):,}"] for name, answer in answers.items()],
    }


def _errors(truth: Truth, answer: Answer) -> np.ndarray:
    """Return absolute errors on the scale of the training part, (n, K, V)."""
    return np.asarray(np.abs(answer.point - truth.values) / truth.scale[:, None])


def _mean(error: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Return the mean of what is known, NaN where nothing is."""
    seen = ~np.isnan(error)
    count = seen.sum(axis=axis)
    return np.where(count > 0, np.where(seen, error, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _plain(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]
