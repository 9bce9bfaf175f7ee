"""The tables of tasks whose data carries its own answers: an evaluation, and a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from habitus.cli.output import COSTS, cost_cells, say, table

if TYPE_CHECKING:
    from habitus.tasks.judged import JudgedTask

_MOST_METRICS = 3  # beside the costs of a comparison: names of models stay on one line


def print_task_evaluation(evaluation: Mapping[str, Any], task: JudgedTask, model: str) -> None:
    """Print every metric of the model and its rivals, the paired differences, and a sentence."""
    columns = {model: evaluation["metrics"], **evaluation["baselines"]}
    rows = [[metric, *(cell(one.get(metric)) for one in columns.values())] for metric in evaluation["metrics"]]
    table(_title(evaluation, f"({evaluation['split']}), "), ["metric", *columns], rows)
    print_protocol(evaluation)
    print_task_differences(evaluation)
    say(_sentence(evaluation, task))


def print_task_comparison(document: Mapping[str, Any], task: JudgedTask) -> None:
    """Print what `compare.json` holds."""
    found = next(iter(document["models"].values()))["metrics"]
    metrics = [task.monitor, *(name for name in found if name != task.monitor)][:_MOST_METRICS]
    rows = [
        [name, *(cell(one["metrics"].get(metric)) for metric in metrics), *cost_cells(one)]
        for name, one in document["models"].items()
    ]
    table(_title(document, "of the test part, "), ["model", *metrics, *COSTS], rows)
    print_task_differences(document)
    say(document["verdict"])


def print_task_differences(document: Mapping[str, Any]) -> None:
    """Print paired differences, if there are any."""
    metrics = list(dict.fromkeys(metric for found in document["differences"].values() for metric in found))
    rows = [
        [pair, *(cell(found.get(m), signed=True) for m in metrics)] for pair, found in document["differences"].items()
    ]
    if rows:
        table(f"Differences on the same {document['unit']}", ["pair", *metrics], rows)


def print_protocol(evaluation: Mapping[str, Any]) -> None:
    """Print what a reader must know to compare the figures, if there is anything."""
    for name, value in evaluation.get("protocol", {}).items():
        say(f"{name}: {value}")


def cell(interval: Mapping[str, float | None] | None, *, signed: bool = False) -> str:
    """Return a value with its interval; large ones with fewer decimals.

    >>> cell({"value": 0.5, "low": 0.4, "high": 0.6}), cell({"value": 31.52, "low": 30.1, "high": 33.0})
    ('0.500 [0.400, 0.600]', '31.52 [30.10, 33.00]')
    """
    if interval is None or interval["value"] is None:
        return "–"
    form = f"{'+' if signed else ''}.{3 if abs(interval['value']) < 10 else 2}f"
    if interval["low"] is None or interval["high"] is None:
        return format(interval["value"], form)
    return f"{interval['value']:{form}} [{interval['low']:{form}}, {interval['high']:{form}}]"


def _title(document: Mapping[str, Any], which: str) -> str:
    return f"{document['target'] or document['task']}: {document['n']:,} {document['unit']} {which}95 % intervals"


def _sentence(evaluation: Mapping[str, Any], task: JudgedTask) -> str:
    """Say whether the model beats its best rival, or that it is a tie."""
    sign, main = -1 if task.lower_is_better else 1, task.monitor
    values = {name: (metrics.get(main) or {}).get("value") for name, metrics in evaluation["baselines"].items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return f"No rival could be judged beside the model in {main}."
    rival = max(known, key=lambda name: sign * known[name])
    gap = evaluation["differences"][f"model - {rival}"][main]
    if gap["low"] is None or gap["low"] <= 0 <= gap["high"]:
        shown = cell(gap, signed=True)
        return f"A tie: the model and its best rival, {rival}, cannot be told apart in {main} ({shown})."
    verb = "beats" if (gap["low"] > 0) == (sign > 0) else "does not beat"
    return f"The model {verb} its best rival, {rival}, in {main} ({cell(gap, signed=True)})."
