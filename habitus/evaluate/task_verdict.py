"""Who wins a comparison, in a sentence: a win is a paired 95 % interval that leaves 0 out; else it is a tie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from habitus.evaluate._numbers import decimal
from habitus.evaluate._words import metric_name
from habitus.metrics import Interval
from habitus.tasks import Task
from habitus.tasks.judged import JudgedTask


def verdict(
    task: JudgedTask | Task, truth: Any, answers: Mapping[str, Any], values: Mapping[str, float], n: int
) -> str:
    """Say who wins on the task's monitor, or that it is a tie.

    The leader is compared with every other one; those whose difference includes 0 tie with it.

    Args:
        task: gives the paired differences.
        truth: the true answers of n units.
        answers: of every model and rival, by name.
        values: the monitor of each.
        n: units judged.
    """
    sign = -1 if task.lower_is_better else 1
    leader = max(values, key=lambda name: sign * values[name])
    others = [name for name in values if name != leader]
    gaps = {name: task.differences(truth, answers[leader], answers[name])[task.monitor] for name in others}
    tied = [name for name, gap in gaps.items() if not _is_win(gap, sign)]
    figure = f"{metric_name(task.monitor)} {decimal(values[leader])}, n = {n:,} {task.unit}"
    if not gaps:
        return f"{leader} stands alone: {figure}."
    below = [name for name in others if name not in tied]
    nearest = max(below, key=lambda name: sign * values[name], default="")
    if not tied:
        return f"{leader} wins ({figure}): ahead of {nearest}, the next best, by {_signed(gaps[nearest])}."
    sentence = f"A tie: {leader} ({figure}) and {_listed(tied)} cannot be told apart on these {task.unit}."
    return f"{sentence} Behind them: {nearest}, by {_signed(gaps[nearest])}." if nearest else sentence


def _is_win(gap: Interval, sign: int) -> bool:
    return gap.low > 0 if sign > 0 else gap.high < 0


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _signed(gap: Interval) -> str:
    value, low, high = (decimal(one, signed=True) for one in (gap.value, gap.low, gap.high))
    return f"{value} (95 % interval {low} to {high})"
