"""What a search found: trials, what mattered, the best config as TOML, and a page.

How much an option mattered is the share of the variance of the validation metric that it explains in a forest fitted to
the trials (fANOVA, Hutter et al. 2014, ICML), by optuna.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from habitus.atomic import write_file
from habitus.errors import require
from habitus.evaluate.folder import environment_facts, finite, write_json
from habitus.evaluate.page_of import write_page
from habitus.tune.search import Search
from habitus.tune.space import Range, Space

_FEWEST = 4  # trials from which importances are told


def search_document(study: Any, space: Space, search: Search, command: str, seconds: float) -> dict[str, Any]:
    """Return what `trials.json` holds: every trial, the best one, and what mattered."""
    trials = [_trial(one) for one in study.get_trials(deepcopy=False)]
    counts = {state: sum(one["state"] == state for one in trials) for state in ("complete", "pruned", "fail")}
    return {
        "monitor": study.best_trial.user_attrs["monitor"],
        "n": len(trials),
        "counts": counts,
        "best": _trial(study.best_trial),
        "importances": importances(study),
        "space": {key: _plain(one) for key, one in space.items()},
        "trials": trials,
        "run": {**environment_facts(command, seconds), "seed": search.seed},
    }


def importances(study: Any) -> dict[str, float]:
    """Return the share of the variance of the metric that each option explains, largest first; {} with few trials."""
    optuna = require("optuna", "tune")
    require("sklearn", "train")
    done = [one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    if len(done) < _FEWEST or len({one.value for one in done}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(float(value), 4) for name, value in found.items()}


def write_search(document: Mapping[str, Any], settings: Mapping[str, Any], folder: str | Path) -> Path:
    """Write trials.json, best.toml and tune.html into a folder; return the path of the config."""
    folder = Path(folder)
    write_json(folder / "trials.json", finite(dict(document)))
    write_file(folder / "best.toml", toml_of(settings))
    write_page(folder / "tune.html", _page(document))
    return folder / "best.toml"


def toml_of(settings: Mapping[str, Any]) -> str:
    r"""Return plain settings as TOML: values first, then a section for each table; None and empty tables are left out.

    >>> print(toml_of({"seed": 1, "task": {"target": "risk", "note": None}, "data": {"fields": {"a b": "number"}}}))
    seed = 1
    <BLANKLINE>
    [task]
    target = "risk"
    <BLANKLINE>
    [data.fields]
    "a b" = "number"
    <BLANKLINE>
    """
    return "\n\n".join(_sections(settings, "")) + "\n"


def _sections(table: Mapping[str, Any], name: str) -> list[str]:
    values = {key: one for key, one in table.items() if one is not None and not isinstance(one, Mapping)}
    inner = {key: one for key, one in table.items() if isinstance(one, Mapping)}
    lines = [f"{_key(key)} = {_value(one)}" for key, one in values.items()]
    own = ["\n".join([f"[{name}]", *lines] if name else lines)] if lines else []
    nested = [
        part for key, one in inner.items() for part in _sections(one, f"{name}.{_key(key)}" if name else _key(key))
    ]
    return own + nested


def _key(name: str) -> str:
    return name if name and all(one.isascii() and (one.isalnum() or one in "_-") for one in name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _trial(trial: Any) -> dict[str, Any]:
    took = trial.duration.total_seconds() if trial.duration else None
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "params": dict(trial.params),
        "epochs": trial.user_attrs.get("epochs"),
        "seconds": took,
        "by_epoch": {str(step): value for step, value in trial.intermediate_values.items()},
        **({"reason": trial.user_attrs["reason"]} if "reason" in trial.user_attrs else {}),
    }


def _plain(one: Range | tuple[Any, ...]) -> Any:
    return {"low": one.low, "high": one.high, "log": one.log} if isinstance(one, Range) else list(one)


def _page(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record that the page of any task is made of."""
    best, monitor, counts = document["best"], document["monitor"], document["counts"]
    sentence = (
        f"{document['n']} trials ({counts['complete']} to the end, {counts['pruned']} stopped early, {counts['fail']} "
        f"failed); trial {best['number']} is best on the validation part. None of them saw the test part."
    )
    return {
        "task": "search",
        "target": "the validation part",
        "n": document["n"],
        "unit": "trials",
        "primary": monitor,
        "model": f"trial {best['number']}",
        "metrics": {monitor: {"value": best["value"], "low": None, "high": None}},
        "protocol": {"search": sentence},
        "notes": ["A best of many trials is flattered by the luck of its validation part: judge it on the test part."],
        "panels": _panels(document),
        "run": document["run"],
    }


def _panels(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    done = [one for one in document["trials"] if one["state"] == "complete"]
    ordered = sorted(done, key=lambda one: -one["value"])
    keys = list(document["space"])
    best_so_far = [max(one["value"] for one in done[: k + 1]) for k in range(len(done))]
    numbers = [one["number"] for one in done]
    lines = [
        {"name": "best so far", "x": numbers, "y": best_so_far},
        {"name": "each trial", "x": numbers, "y": [one["value"] for one in done]},
    ]
    rows = [[one["number"], one["value"], *(_said(one["params"].get(key)) for key in keys)] for one in ordered]
    return [
        {
            "kind": "bars", "title": "What mattered", "caption": "Share of the variance of the validation metric.",
            "bars": [{"name": name, "value": value} for name, value in document["importances"].items()],
        },
        {
            "kind": "lines", "title": "The search", "x_label": "trial", "y_label": document["monitor"], "lines": lines,
            "caption": "Trials that came to an end, in the order in which they began.",
        },
        {
            "kind": "table", "title": "Trials, the best first", "columns": ["trial", document["monitor"], *keys],
            "rows": rows, "caption": "The validation metric; higher is better.",
        },
    ]  # fmt: skip


def _said(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
