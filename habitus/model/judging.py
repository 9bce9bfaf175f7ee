"""Judging a next-event model: the ranks of the true items, its rivals' ranks on the same questions, and its times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from habitus.baselines.next_event import NextBaseline
from habitus.data.clock import DAY_US
from habitus.data.next_batch import HistoryTensors
from habitus.metrics.rank import target_ranks, top_k
from habitus.metrics.waiting import time_metrics
from habitus.next_evaluation import TIE_RULE, Answers, Judged, NextEvaluation, judge_next
from habitus.next_prepared import PreparedNext
from habitus.tasks.ranking import Questions, answer_states, rank_targets, seen_items, top_items

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel

_RIVAL_QUESTIONS = 256  # scored at once
_LIST = 10


def judge(
    model: NextEventModel, prepared: PreparedNext, tensors: HistoryTensors, notes: Sequence[str] = ()
) -> NextEvaluation:
    """Return the evaluation of a fitted model on the test part, beside its rivals."""
    targets: dict[str, Judged] = {}
    task = model.task
    for name, questions in prepared.test().items():
        rivals = {rival.name: rival_answers(model, rival, prepared, questions) for rival in model.baselines_}
        answers = _answers(model, tensors, asked(model, questions), questions)
        targets[name] = judge_next(answers, rivals, questions.entity, model.popularity_)
        if 0 < task.query_time < 1:
            told = _answers(model, tensors, questions, questions)
            targets[f"{name}, time told"] = judge_next(told, rivals, questions.entity, model.popularity_)
    protocol = {
        "split": model.split.sentence(),
        "tie_rule": TIE_RULE,
        "query_time_given": task.query_time == 1,
        "filter_seen": model.filter_seen_,
        "catalogue": len(model.vocabulary_.values),
        "max_length": model.data.max_length,
        "loss": task.catalogue_loss.sentence(model.vocabulary_.size),
    }
    return NextEvaluation(task.item, model.split.by, protocol, targets, [*prepared.log.notes, *notes])


def asked(model: NextEventModel, questions: Questions) -> Questions:
    """Return the questions as the model is judged on them: with their time only if it must be told."""
    return questions if model.task.query_time == 1 else questions.untold()


def rival_answers(model: NextEventModel, rival: NextBaseline, prepared: PreparedNext, questions: Questions) -> Answers:
    """Return what a rival says to the questions, with the model's rule for items that were seen."""
    began, histories = time.monotonic(), prepared.histories
    ranks, lists = [], []
    for first in range(0, len(questions), _RIVAL_QUESTIONS):
        chunk = questions.take(np.arange(first, min(first + _RIVAL_QUESTIONS, len(questions))))
        assert chunk.target is not None, "these questions have answers"
        scores = rival.score(histories, chunk.windows, chunk.at_us)
        excluded = None
        if model.filter_seen_:
            excluded = seen_items(histories, model.task.item, chunk.begin, chunk.windows.stop)
        ranks.append(target_ranks(scores, chunk.target, excluded))
        lists.append(top_k(scores, _LIST, excluded)[0])
    return Answers(np.concatenate(ranks), np.concatenate(lists), time.monotonic() - began)


def _answers(model: NextEventModel, tensors: HistoryTensors, given: Questions, questions: Questions) -> Answers:
    began, network = time.monotonic(), model.network_
    states = answer_states(network, tensors, given)  # the network is asked once for ranks, lists and times
    ranks = rank_targets(network, tensors, given, filter_seen=model.filter_seen_, states=states)
    top_ids, _ = top_items(network, tensors, given, _LIST, filter_seen=model.filter_seen_, states=states)
    more: dict[str, Any] = {}
    if network.when is not None and given.at_us is None:
        more = _time_metrics(model, tensors, questions, states)
    return Answers(ranks, top_ids, time.monotonic() - began, more)


@torch.no_grad()
def _time_metrics(
    model: NextEventModel, tensors: HistoryTensors, questions: Questions, states: Tensor
) -> dict[str, Any]:
    """Judge the time until the next event that untold states predict against the constant median gap."""
    network = model.network_
    assert network.when is not None and questions.at_us is not None
    last_us = tensors.histories.time_us[np.maximum(questions.windows.stop - 1, questions.windows.start)]
    target_days = (questions.at_us - last_us) / DAY_US
    median = network.when.median(states).numpy()
    log_prob = network.when.log_prob(states, torch.from_numpy(target_days.astype(np.float32))).numpy()
    return time_metrics(target_days, median, log_prob, network.median_gap_days)
