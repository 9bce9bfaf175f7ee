"""The report of a next-event run: what its template shows, from the files of the run's folder alone.

Incomplete files make an incomplete page, not an error. See `report.py` for how a page is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from habitus.evaluate import _next_words as next_words
from habitus.evaluate import _panels as panels
from habitus.evaluate import _tables as tables
from habitus.evaluate import _words as words
from habitus.evaluate import charts
from habitus.evaluate._numbers import Estimate, count, number
from habitus.evaluate._page import Run, details, groups
from habitus.evaluate._words import Record

_SHOWN = ("ndcg@10", "hr@10", "mrr", "hr@1", "coverage@10", "novelty@10")
_NEITHER = ("coverage@10", "novelty@10")  # no value of theirs is the best one
_WHEN = ("mae_days", "baseline_mae_days", "mae_difference_days", "log_likelihood")
_LENGTHS = (1, 5, 10, 20)
_DAY_S = 86_400
_MAX_LINES = 8


def next_context(run: Run) -> dict[str, Any]:
    """Return what the template shows."""
    main = words.primary(tables.records(run.metrics, "metrics"), run.metrics.get("primary"))
    name = tables.own_name(run.metrics, run.compare, main)
    targets = _targets(run, name, main)
    first = targets[0]
    of = f"test questions of {count(run.metrics.get('n_users'))} users"
    answer = tables.answer(run.metrics, run.compare, first["rows"], first["differences"], main, of)
    return {
        **details(run),
        "metrics": run.metrics,
        "target": str(run.metrics.get("target") or ""),
        "data": run.data,
        "compare": run.compare,
        "notes": [*(run.data.get("notes") or []), *(run.metrics.get("notes") or [])],
        "model_name": name,
        "answer": answer,
        "main": main,
        "main_estimate": first["rows"][0].estimate(main) if main else None,
        "targets": targets,
        "explained": {one: words.METRICS[one][1] for one in _SHOWN if one in words.METRICS},
        **panels.cost(first["rows"], main),
        "protocol": next_words.protocol_rows(run.metrics),
        **_at_lengths(run.metrics, run.compare, name),
        **_popularity(run.metrics, name),
        **panels.learning([{k: v for k, v in row.items() if k != "validation_loss"} for row in run.history]),
        **_lengths(run.data),
        **_gaps(run.data, run.metrics),
        "parts": list(tables.records(tables.records(run.data, "split"), "parts").items()),
        "timelines": [one for one in run.metrics.get("timelines") or [] if isinstance(one, Mapping)],
        "commonest": _commonest(run.data),
        "cautions": next_words.next_cautions(
            run.metrics,
            run.data,
            run.history,
            answer["standing"],
            sum(row.n_judged for one in targets for row in one["differences"]),
        ),
    }


def _targets(run: Run, name: str, main: str | None) -> list[dict[str, Any]]:
    """Return the tables of each target; compared models stand only in the first, which all were judged on."""
    judged = tables.records(run.metrics, "targets") or {"last": run.metrics}
    found = []
    for number_of, (target, given) in enumerate(judged.items()):
        given = given if isinstance(given, Mapping) else {}
        compare = run.compare if not number_of else {}
        rows = [_shown(row) for row in tables.model_rows(given, compare, name)]
        differences = tables.difference_rows(given, compare, name, [row.name for row in rows])
        found.append(
            {
                "name": target,
                "asks": next_words.target_words(str(target)),
                "n": given.get("n"),
                "n_users": given.get("n_users"),
                "errors": tables.records(given, "standard_errors"),
                "rows": tables.on_a_scale(rows, main),
                "groups": _in_order(groups(rows, main)),
                "differences": tables.on_a_scale(differences, main, zero=True),
                "difference_groups": groups(differences, main),
                "when": _when(tables.records(given, "metrics")),
            }
        )
    return found


def _shown(row: tables.Row) -> tables.Row:
    cells = {m: row.cells[m] for m in _SHOWN if m in row.cells}
    return replace(row, cells={m: replace(c, is_best=c.is_best and m not in _NEITHER) for m, c in cells.items()})


def _in_order(grouped: list[list[str]]) -> list[list[str]]:
    return [sorted(group, key=lambda name: _SHOWN.index(name) if name in _SHOWN else 99) for group in grouped]


def _when(metrics: Record) -> list[tuple[str, Estimate]]:
    return [(name, found) for name in _WHEN if (found := Estimate.read(metrics.get(name)))]


def _at_lengths(metrics: Record, compare: Record, name: str) -> dict[str, Any]:
    """Draw hit rate and NDCG for lists of 1 to 20, the model with its intervals."""
    given = {name: tables.records(metrics, "metrics")}
    given |= {other: tables.records(one, "metrics") for other, one in tables.records(compare, "models").items()}
    given |= {rival: values for rival, values in tables.records(metrics, "baselines").items()}
    found: dict[str, Any] = {}
    for kind, label in (("hr", "hit rate"), ("ndcg", "NDCG")):
        lines = [_line(other, values, kind, with_interval=other == name) for other, values in given.items()]
        drawn = [line for line in lines if line is not None][:_MAX_LINES]
        ticks = [str(k) for k in _LENGTHS]
        chart = charts.steps_chart(f"at-{kind}", drawn, ticks, "items in the list", label) if drawn else None
        found[f"{kind}_chart"] = chart
    return found


def _line(name: str, values: object, kind: str, *, with_interval: bool) -> charts.Line | None:
    own = values if isinstance(values, Mapping) else {}
    return _drawn(name, [Estimate.read(own.get(f"{kind}@{length}")) for length in _LENGTHS], with_interval)


def _popularity(metrics: Record, name: str) -> dict[str, Any]:
    """Draw the hit rate by popularity of the true item: the model, those compared, its two best rivals."""
    given = tables.records(metrics, "by_popularity")
    bands = [band for band in given.get("bands") or [] if isinstance(band, Mapping)]
    drawn = [band for band in bands if band.get("band") != "not in training"]
    rivals = tables.records(metrics, "baselines")
    overall = {rival: Estimate.read(tables.records(rivals, rival).get("hr@10")) for rival in rivals}
    known = {rival: estimate.value for rival, estimate in overall.items() if estimate is not None}
    answered = dict.fromkeys(str(one) for band in bands for one in tables.records(band, "hits"))
    compared = [one for one in answered if one != name and one not in rivals][:2]
    names = [name, *compared, *sorted(known, key=lambda rival: -known[rival])[:2]]
    found = {one: [Estimate.read(tables.records(band, "hits").get(one)) for band in drawn] for one in names}
    lines = [line for one in names if (line := _drawn(one, found[one], with_interval=one == name))]
    ticks = [str(band.get("band")) for band in drawn]
    chart = None
    if lines and len(drawn) > 1:
        chart = charts.steps_chart("popularity", lines, ticks, "popularity of the true item", "hit rate among ten")
    rows = [
        {**band, "shown": [(one, Estimate.read(tables.records(band, "hits").get(one))) for one in names]}
        for band in bands
    ]
    return {"popularity_chart": chart, "bands": rows, "band_names": names, "n_bands": given.get("n")}


def _drawn(name: str, estimates: Sequence[Estimate | None], with_interval: bool) -> charts.Line | None:
    """Return a line through the estimates that there are, at 0, 1, 2 ..."""
    found = [(k, estimate) for k, estimate in enumerate(estimates) if estimate is not None]
    if not found:
        return None
    x, y = np.array([k for k, _ in found], float), np.array([e.value for _, e in found])
    if not with_interval or any(e.low is None or e.high is None for _, e in found):
        return charts.Line(name, x, y)
    return charts.Line(name, x, y, np.array([e.low for _, e in found]), np.array([e.high for _, e in found]))


def _lengths(data: Record) -> dict[str, Any]:
    lengths = tables.records(data, "lengths")
    histogram = tables.records(lengths, "histogram")
    edges, counts = (np.array(histogram.get(name) or [], float) for name in ("edges", "counts"))
    if not len(counts) or len(edges) != len(counts) + 1:
        return {"lengths_chart": None}
    longest = number(lengths.get("max_length"))
    return {"lengths_chart": charts.lengths_chart("lengths", edges, counts, longest, ("events", "users"))}


def _gaps(data: Record, metrics: Record) -> dict[str, Any]:
    gaps = tables.records(data, "gaps")
    histogram = tables.records(gaps, "histogram")
    edges, counts = (np.array(histogram.get(name) or [], float) for name in ("edges_s", "counts"))
    if not metrics.get("when") or not len(counts) or len(edges) != len(counts) + 1:
        return {"gaps_chart": None}
    median = number(gaps.get("median_days"))
    return {"gaps_chart": charts.gaps_chart("gaps", edges, counts, None if median is None else median * _DAY_S)}


def _commonest(data: Record) -> dict[str, Any]:
    items = [item for item in data.get("commonest") or [] if isinstance(item, Mapping)]
    return {"values": items, "scale": max((number(item.get("share")) or 0 for item in items), default=0)}
