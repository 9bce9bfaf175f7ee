"""Compare next-event models on the same histories: every backbone and every counting rival, paired, with a verdict.

All read the same encoded histories, choose on the same validation questions and are judged on the same test questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from habitus.data.next_split import NextSplit
from habitus.data.options import Data
from habitus.errors import ConfigError
from habitus.evaluate.folder import finite, model_costs, remove_stale, run_facts, write_json, write_report_if_possible
from habitus.evaluate.next_ranks import Ranks, headline_ranks
from habitus.evaluate.next_run import write_next_run
from habitus.metrics import Interval
from habitus.metrics.rank import paired_rank_difference, rank_values
from habitus.model import NextEventModel, NextOptions
from habitus.next_evaluation import COMPARED
from habitus.next_prepared import PreparedNext, prepare_next
from habitus.tasks import Backbone
from habitus.tasks.next_event import NextEvent
from habitus.training import Callback, Training

PRIMARY = NextEvent.monitor


def compare_next_run(
    task: NextEvent,
    backbones: Mapping[str, Backbone],
    events: Any,
    out: str | Path,
    *,
    data: Data | None = None,
    split: NextSplit | None = None,
    training: Training | None = None,
    options: NextOptions | None = None,
    seed: int = 0,
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
    command: str = "",
) -> dict[str, Any]:
    """Fit every backbone and rival on the same histories and write what came of it.

    Args:
        task: what to predict.
        backbones: by name; the first one's model and metrics fill the run folder, the others' go to `DIR/<name>`.
        events: the log; a path should be absolute, because the models remember it.
        out: the run folder.
        data, split, training, options, seed: as for `SequenceModel`; the same for each.
        callbacks: gives the callbacks that watch the model of a name.
        command: how to run it again, for the report.

    Returns:
        What `compare.json` holds: metrics of each model, paired differences, and the verdict in a sentence.
    """
    split = split or NextSplit(seed=seed)
    _refuse_useless(backbones, split)
    out, began = Path(out), time.monotonic()
    shared = {"data": data, "split": split, "training": training, "options": options, "seed": seed}
    prepared = prepare_next(task, events, data or Data(), split)
    models: dict[str, NextEventModel] = {}
    for name, backbone in backbones.items():
        model = NextEventModel(task, backbone, **shared)
        rivals = next(iter(models.values())).baselines_ if models else None
        folder = out / name if models else out
        folder.mkdir(parents=True, exist_ok=True)
        models[name] = model.fit_prepared(prepared, rivals=rivals, folder=folder, callbacks=callbacks(name))
    ranks = _all_ranks(list(models.values()), prepared)
    document = _document(list(models.values()), ranks)
    document["run"] = run_facts(next(iter(models.values())), command, time.monotonic() - began)
    _write(models, prepared, ranks, document, out)
    return document


def verdict(ranks: Mapping[str, np.ndarray], users: np.ndarray) -> str:
    """Say who wins on NDCG@10 or that it is a tie: a win is a paired 95 % interval above 0.

    The leader is compared with every other one; those whose difference includes 0 tie with it.

    Args:
        ranks: int64 (q,) by name, of the same questions.
        users: (q,), whose question it is.

    >>> verdict({"GRU": np.array([1, 1, 2, 1]), "most popular": np.array([40, 30, 20, 11])}, np.arange(4))[:34]
    'GRU wins (NDCG@10 0.9077, 4 users)'
    """
    value = {name: _mean(found, users) for name, found in ranks.items()}
    leader = max(value, key=lambda name: value[name])
    gaps = {name: paired_rank_difference(ranks[leader], ranks[name], users) for name in ranks if name != leader}
    tied = [name for name, gap in gaps.items() if not gap.low > 0]
    figure = f"NDCG@10 {value[leader]:.4f}, {len(np.unique(users)):,} users"
    below = max((name for name in gaps if name not in tied), key=lambda name: value[name], default=None)
    if tied:
        sentence = f"A tie: {leader} ({figure}) and {_listed(tied)} cannot be told apart on these questions."
        return sentence if below is None else f"{sentence} Below them: {below}, by {_signed(gaps[below])}."
    if below is None:
        return f"{leader} stands alone: {figure}."
    return f"{leader} wins ({figure}): above {below}, the next best, by {_signed(gaps[below])}."


def _refuse_useless(backbones: Mapping[str, Backbone], split: NextSplit) -> None:
    if not backbones:
        raise ConfigError("compare needs at least one backbone, such as transformer or gru.")
    if split.by == "none":
        raise ConfigError(
            "compare judges on a test part, and split='none' leaves none; use 'temporal' or 'leave-one-out'."
        )


def _all_ranks(models: Sequence[NextEventModel], prepared: PreparedNext) -> Ranks:
    """Return the ranks of all models, then of their rivals."""
    first, *others = models
    ranks = headline_ranks(first, prepared)
    found = {first.name: ranks.by_name[first.name]}
    found |= {model.name: headline_ranks(model, prepared).by_name[model.name] for model in others}
    return Ranks(ranks.questions, found | ranks.by_name)


def _document(models: Sequence[NextEventModel], ranks: Ranks) -> dict[str, Any]:
    first, users = models[0], ranks.questions.entity
    evaluation = first.evaluation_
    assert evaluation is not None, "there is a test part"
    ours = ranks.by_name[first.name]
    gaps = {
        f"{first.name} - {name}": {m: paired_rank_difference(ours, found, users, m).to_json() for m in COMPARED}
        for name, found in ranks.by_name.items()
        if name != first.name
    }
    head = evaluation.to_json()
    return {
        **{name: head[name] for name in ("task", "target", "n", "n_users", "split", "protocol")},
        "primary": PRIMARY,
        "asked": next(iter(evaluation.targets)),
        "models": _entries(models),
        "differences": gaps,
        "verdict": verdict(ranks.by_name, users),
        "notes": head["notes"],
    }


def _entries(models: Sequence[NextEventModel]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for model in models:
        assert model.evaluation_ is not None, "there is a test part"
        judged = model.evaluation_.headline.to_json()
        cost = model_costs(model, model.result_.seconds)
        entries[model.name] = {"metrics": judged["metrics"], "standard_errors": judged["standard_errors"], **cost}
    rivals = models[0].evaluation_.headline.baselines if models[0].evaluation_ else {}
    for name, metrics in rivals.items():
        entries[name] = {
            "metrics": {metric: interval.to_json() for metric, interval in metrics.items()},
            "seconds": round(models[0].rival_seconds_[name], 3),
        }
    return entries


def _write(
    models: Mapping[str, NextEventModel], prepared: PreparedNext, ranks: Ranks, document: dict[str, Any], out: Path
) -> None:
    for number, (name, model) in enumerate(models.items()):
        folder = out / name if number else out
        remove_stale(folder)
        rivals = [model.name, *(rival.name for rival in model.baselines_)]
        own = ranks if not number else Ranks(ranks.questions, {one: ranks.by_name[one] for one in rivals})
        write_next_run(model, prepared, folder, document["run"], own)
    write_json(out / "compare.json", finite(document))
    write_report_if_possible(out)


def _mean(ranks: np.ndarray, users: np.ndarray) -> float:
    """Return the mean over users of NDCG@10."""
    _, user, n = np.unique(users, return_inverse=True, return_counts=True)
    return float((np.bincount(user, weights=rank_values(ranks, PRIMARY)) / n).mean())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _signed(gap: Interval) -> str:
    return f"{gap.value:+.4f} (95 % interval {gap.low:+.4f} to {gap.high:+.4f})"
