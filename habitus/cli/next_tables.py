"""What the commands of next-event models print: every table with its rivals, paired differences and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from habitus.cli.output import COSTS, cost_cells, say, table

_SHOWN = ("ndcg@10", "hr@10", "mrr", "coverage@10", "novelty@10")
_WHEN = ("mae_days", "baseline_mae_days", "mae_difference_days", "log_likelihood")
_MAIN = "ndcg@10"


def print_next_evaluation(evaluation: Mapping[str, Any], model: str) -> None:
    """Print an evaluation: each target with rivals, differences and standard errors, then the protocol."""
    for name, judged in evaluation["targets"].items():
        rows = {model: judged["metrics"], **judged["baselines"]}
        _print_models(f"{evaluation['target']}, target '{name}': {_n(judged)}, 95 % intervals", rows)
        _print_differences(judged["differences"])
        _print_when(judged["metrics"])
        say(f"Standard errors: {_errors(judged['standard_errors'])}.")
        say(_sentence(judged))
    say(protocol_sentence(evaluation))


def print_next_comparison(document: Mapping[str, Any]) -> None:
    """Print what `compare.json` holds."""
    rows = {name: one["metrics"] for name, one in document["models"].items()}
    title = f"{document['target']}, target '{document['asked']}': {_n(document)}, 95 % intervals"
    _print_models(title, rows)
    table("Cost", ["model", *COSTS], [[name, *cost_cells(one)] for name, one in document["models"].items()])
    _print_differences(document["differences"])
    errors = {name: one["standard_errors"] for name, one in document["models"].items() if "standard_errors" in one}
    say("Standard errors: " + "; ".join(f"{name}: {_errors(one)}" for name, one in errors.items()) + ".")
    say(protocol_sentence(document))
    say(document["verdict"])


def protocol_sentence(document: Mapping[str, Any]) -> str:
    """Say in one line under which protocol the figures were made.

    >>> protocol_sentence({"protocol": {"split": "temporal", "tie_rule": "log order", "query_time_given": False,
    ...     "filter_seen": True, "catalogue": 240, "max_length": 50}}).split("; ")[2:4]
    ['query time given: no', 'filter_seen: yes']
    """
    given = document["protocol"]
    return (
        f"Protocol: {given['split']}; ties: {given['tie_rule']}; query time given: {_yes(given['query_time_given'])}; "
        f"filter_seen: {_yes(given['filter_seen'])}; ranked over all {given['catalogue']:,} items; "
        f"reads the latest {given['max_length']:,} events."
    )


def _print_models(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    metrics = [name for name in _SHOWN if any(name in one for one in rows.values())]
    table(title, ["model", *metrics], [[name, *(_cell(one.get(m)) for m in metrics)] for name, one in rows.items()])


def _print_differences(differences: Mapping[str, Any]) -> None:
    metrics = list(dict.fromkeys(metric for found in differences.values() for metric in found))
    if not differences:
        return
    rows = [[pair, *(_cell(found.get(m), signed=True) for m in metrics)] for pair, found in differences.items()]
    table("Differences on the same questions", ["pair", *metrics], rows)


def _print_when(metrics: Mapping[str, Any]) -> None:
    known = [name for name in _WHEN if name in metrics]
    if known:
        table("Time until the next event", known, [[_cell(metrics[name]) for name in known]], text=())


def _sentence(judged: Mapping[str, Any]) -> str:
    """Say whether the model beats its best rival, or that it is a tie."""
    values = {name: (metrics.get(_MAIN) or {}).get("value") for name, metrics in judged["baselines"].items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return "No rival was judged beside the model."
    rival = max(known, key=lambda name: known[name])
    gap = judged["differences"][f"model - {rival}"][_MAIN]
    if gap["low"] is None or gap["low"] <= 0 <= gap["high"]:
        shown = _cell(gap, signed=True)
        return f"A tie: the model and its best rival, {rival}, cannot be told apart in NDCG@10 ({shown})."
    verb = "beats" if gap["low"] > 0 else "does not beat"
    return f"The model {verb} its best rival, {rival}, in NDCG@10 ({_cell(gap, signed=True)})."


def _cell(interval: Mapping[str, float | None] | None, *, signed: bool = False) -> str:
    if interval is None or interval["value"] is None:
        return "–"
    form = "+.4f" if signed else ".4f"
    if interval["low"] is None or interval["high"] is None:
        return format(interval["value"], form)
    return f"{interval['value']:{form}} [{interval['low']:{form}}, {interval['high']:{form}}]"


def _n(judged: Mapping[str, Any]) -> str:
    return f"n = {judged['n']:,} questions of {judged['n_users']:,} users"


def _errors(errors: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {'–' if value is None else format(value, '.4f')}" for name, value in errors.items())


def _yes(value: bool) -> str:
    return "yes" if value else "no"
