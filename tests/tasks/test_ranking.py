"""Ranking the whole catalogue for many questions: against loops, whatever the batches."""

import math

import numpy as np
import pytest
import torch

import habitus.tasks.ranking as ranking
from habitus.backbones import Transformer
from habitus.data.histories import Histories, latest
from habitus.data.next_batch import HistoryTensors
from habitus.metrics.rank import ranking_metrics
from habitus.tasks import Inputs
from habitus.tasks.next_event import NextEvent, NextEventNetwork
from habitus.tasks.ranking import Questions, answer_states, rank_targets, seen_items, top_items

N_IDS, N_USERS = 23, 17


@pytest.fixture(scope="module")
def asked():
    """A network, histories as tensors, and one question a user: its last event."""
    rng, lengths = np.random.default_rng(0), np.arange(2, 2 + N_USERS)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    histories = Histories(
        offsets,
        {"item": rng.integers(1, N_IDS, offsets[-1]).astype(np.int32)},
        {},
        np.arange(offsets[-1]) * 3_600_000_000,
    )
    torch.manual_seed(0)
    backbone = Transformer(hidden_size=8, n_heads=2, n_layers=1, pooling="last")
    network = NextEventNetwork(Inputs({"item": N_IDS}, {}, {}, {}), backbone, NextEvent("item"), np.array([1.0, 2.0]))
    with torch.no_grad():
        network.item_bias[::4] = 1.5
    stop = offsets[1:] - 1
    questions = Questions(
        windows=latest(offsets[:-1], stop, 6),
        begin=offsets[:-1],
        entity=np.arange(N_USERS),
        target=histories.ids["item"][stop].astype(np.int64),
    )
    return network, HistoryTensors(histories), questions


def scores_by_hand(network, tensors, questions):
    """Each question alone."""
    rows = [answer_states(network, tensors, questions.take(np.array([i]))) for i in range(len(questions))]
    return network.item_scores(torch.cat(rows)).detach().numpy()


def rank_by_hand(scores, target, seen):
    if target < 3:
        return None
    others = [i for i in range(3, len(scores)) if i != target and i not in seen]
    return 1 + sum(scores[i] > scores[target] or (scores[i] == scores[target] and i < target) for i in others)


def seen_by_hand(tensors, questions, row):
    return set(tensors.histories.ids["item"][questions.begin[row] : questions.windows.stop[row]].tolist())


def test_company_and_order_change_no_state(asked):
    network, tensors, questions = asked
    states = answer_states(network, tensors, questions)
    alone = torch.cat([answer_states(network, tensors, questions.take(np.array([i]))) for i in range(N_USERS)])
    assert (states - alone).abs().max() <= 1e-5 and states.dtype == torch.float32
    order = np.random.default_rng(1).permutation(N_USERS)
    turned = answer_states(network, tensors, questions.take(order))
    assert (turned - states[torch.from_numpy(order)]).abs().max() <= 1e-5


@pytest.mark.parametrize("filter_seen", [False, True])
def test_ranks_and_ndcg_are_those_of_a_loop(asked, filter_seen):
    network, tensors, questions = asked
    ranks, scores = rank_targets(network, tensors, questions, filter_seen=filter_seen), None
    scores, total = scores_by_hand(network, tensors, questions), 0.0
    for row, target in enumerate(questions.target):
        rank = rank_by_hand(scores[row], target, seen_by_hand(tensors, questions, row) if filter_seen else ())
        assert ranks[row] == rank or (rank is None and ranks[row] > 10**9)
        total += 1 / math.log2(rank + 1) if rank is not None and rank <= 10 else 0.0
    assert ranking_metrics(ranks)["ndcg@10"].value == pytest.approx(total / N_USERS)
    assert any(target in seen_by_hand(tensors, questions, row) for row, target in enumerate(questions.target))


@pytest.mark.parametrize("filter_seen", [False, True])
@pytest.mark.parametrize("candidates", [None, [4, 7, 8, 20, 21]])
def test_the_best_items_are_those_of_a_loop(asked, filter_seen, candidates):
    network, tensors, questions = asked
    given = None if candidates is None else np.array(candidates)
    ids, best = top_items(network, tensors, questions, 6, filter_seen=filter_seen, candidates=given)
    scores = scores_by_hand(network, tensors, questions)
    for row in range(N_USERS):
        seen = seen_by_hand(tensors, questions, row) if filter_seen else ()
        allowed = [i for i in candidates or range(3, N_IDS) if i not in seen]
        expected = sorted(allowed, key=lambda i: (-scores[row, i], i))[:6]
        assert ids[row].tolist() == expected + [0] * (6 - len(expected))
        np.testing.assert_allclose(best[row, : len(expected)], scores[row, expected], atol=1e-5)
        assert np.isneginf(best[row, len(expected) :]).all()


def test_an_item_seen_before_the_window_is_taken_out_too(asked):
    network, tensors, questions = asked
    longest = questions.take(np.array([N_USERS - 1]))
    assert longest.windows.start[0] > longest.begin[0]
    ids, _ = top_items(network, tensors, longest, N_IDS, filter_seen=True)
    assert not set(ids[0].tolist()) & (seen_by_hand(tensors, longest, 0) - {0})


def test_small_chunks_give_the_same(asked, monkeypatch):
    network, tensors, questions = asked
    expected = rank_targets(network, tensors, questions, filter_seen=True)
    best = top_items(network, tensors, questions, 5, filter_seen=True)
    monkeypatch.setattr(ranking, "_SCORES_AT_ONCE", N_IDS * 2)
    monkeypatch.setattr(ranking, "_BATCH_TOKENS", 13)
    assert (rank_targets(network, tensors, questions, filter_seen=True) == expected).all()
    again = top_items(network, tensors, questions, 5, filter_seen=True)
    assert (again[0] == best[0]).all() and np.abs(again[1] - best[1]).max() <= 1e-5


def test_known_states_are_not_asked_for_again(asked, monkeypatch):
    network, tensors, questions = asked
    states = answer_states(network, tensors, questions)
    ranks = rank_targets(network, tensors, questions, filter_seen=True)
    best = top_items(network, tensors, questions, 5, filter_seen=True)
    monkeypatch.setattr(network, "answer_states", None)
    assert (rank_targets(network, tensors, questions, filter_seen=True, states=states) == ranks).all()
    again = top_items(network, tensors, questions, 5, filter_seen=True, states=states)
    assert (again[0] == best[0]).all() and (again[1] == best[1]).all()


def test_threads_change_no_answer(asked, monkeypatch):
    network, tensors, questions = asked
    monkeypatch.setattr(ranking, "_BATCH_TOKENS", 13)
    monkeypatch.setattr(ranking, "_SCORES_AT_ONCE", N_IDS * 2)
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        found.append(top_items(network, tensors, questions, 5, filter_seen=True))
    torch.set_num_threads(before)
    assert all((one == other).all() for one, other in zip(*found, strict=True))


def test_no_question_has_no_answer(asked):
    network, tensors, questions = asked
    none = questions.take(np.array([], dtype=np.int64))
    assert rank_targets(network, tensors, none, filter_seen=True).shape == (0,)
    assert top_items(network, tensors, none, 5, filter_seen=True)[0].shape == (0, 5)


def test_seen_items_are_those_of_a_loop():
    rng = np.random.default_rng(3)
    histories = Histories(np.array([0, 9]), {"item": rng.integers(0, 9, 9).astype(np.int32)}, {}, np.arange(9))
    begin, stop = np.array([0, 4, 2, 9]), np.array([3, 4, 9, 9])
    rows, ids = seen_items(histories, "item", begin, stop)
    expected = [(r, int(i)) for r in range(4) for i in histories.ids["item"][begin[r] : stop[r]]]
    assert list(zip(rows.tolist(), ids.tolist(), strict=True)) == expected


def test_the_first_questions_are_spread_over_all(asked):
    questions = asked[2]
    few = questions.first(5)
    assert few.entity.tolist() == [0, 4, 8, 12, 16] and questions.first(99) is questions
    assert few.target.tolist() == questions.target[few.entity].tolist() and few.at_us is None


def test_a_question_without_its_time_is_not_told(asked):
    questions = asked[2]
    told = Questions(questions.windows, questions.begin, questions.entity, questions.target, np.arange(N_USERS))
    assert told.untold().at_us is None and told.take(np.array([3])).at_us.tolist() == [3]
