"""The CRF against the sum and the maximum over all taggings, written out."""

import itertools

import pytest
import torch

from habitus.tasks.crf import CRF, FORBIDDEN, forbidden_transitions, viterbi

N_LABELS, N_STEPS = 3, 4


@pytest.fixture
def crf():
    torch.manual_seed(0)
    crf = CRF(N_LABELS).double()
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


@pytest.fixture
def emission():
    return torch.randn(2, N_STEPS, N_LABELS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


IS_STEP = torch.tensor([[True] * 4, [True, True, False, False]])
LENGTHS = (4, 2)


def score(crf, emission, tags):
    total = crf.start[tags[0]] + crf.stop[tags[-1]] + sum(emission[t, tag] for t, tag in enumerate(tags))
    return total + sum(crf.transition[a, b] for a, b in itertools.pairwise(tags))


def taggings(length):
    return list(itertools.product(range(N_LABELS), repeat=length))


def test_the_total_is_the_sum_over_all_taggings(crf, emission):
    found = crf.log_total(emission, IS_STEP)
    for row, length in enumerate(LENGTHS):
        expected = torch.stack([score(crf, emission[row], tags) for tags in taggings(length)]).logsumexp(0)
        assert torch.allclose(found[row], expected)


@pytest.mark.parametrize("labels", [[2, 0, 1, 1], [2, -1, 1, -1], [-1, -1, -1, -1]])
def test_the_loss_is_that_of_all_taggings_that_agree_with_the_known_labels(crf, emission, labels):
    found = crf.loss(emission, torch.tensor([labels, labels]), IS_STEP)
    for row, length in enumerate(LENGTHS):
        scores = {tags: score(crf, emission[row], tags) for tags in taggings(length)}
        agree = [
            s for tags, s in scores.items() if all(y in (-1, tag) for tag, y in zip(tags, labels[:length], strict=True))
        ]
        expected = torch.stack(list(scores.values())).logsumexp(0) - torch.stack(agree).logsumexp(0)
        assert torch.allclose(found[row], expected)


def test_viterbi_finds_the_best_of_all_taggings(crf, emission):
    found = viterbi(emission, crf.transition, crf.start, crf.stop, IS_STEP)
    for row, length in enumerate(LENGTHS):
        best = max(taggings(length), key=lambda tags: float(score(crf, emission[row], tags).detach()))
        assert found[row, :length].tolist() == list(best) and not found[row, length:].any()


def test_marginals_are_shares_of_all_taggings(crf, emission):
    found = crf.marginals(emission, IS_STEP)
    scores = torch.stack([score(crf, emission[0], tags) for tags in taggings(4)]).softmax(0)
    expected = torch.zeros(N_STEPS, N_LABELS, dtype=torch.float64)
    for share, tags in zip(scores, taggings(4), strict=True):
        expected[torch.arange(N_STEPS), list(tags)] += share
    assert torch.allclose(found[0], expected) and torch.allclose(found[1, 2:], torch.zeros(2, N_LABELS).double())


def test_what_stands_on_padding_changes_nothing(crf, emission):
    other = emission.clone()
    other[1, 2:] = 99.0
    labels = torch.tensor([[0, 1, 2, 0], [1, 1, -1, -1]])
    assert torch.equal(crf.loss(emission, labels, IS_STEP), crf.loss(other, labels, IS_STEP))
    assert torch.equal(crf.marginals(emission, IS_STEP)[1, :2], crf.marginals(other, IS_STEP)[1, :2])
    alone = crf.loss(emission[1:, :2], labels[1:, :2], IS_STEP[1:, :2])
    assert torch.allclose(alone, crf.loss(emission, labels, IS_STEP)[1:])


def test_gradients_are_finite_and_reach_the_transitions(crf, emission):
    crf.loss(emission * 50, torch.tensor([[0, 1, 2, 0], [1, -1, -1, -1]]), IS_STEP).sum().backward()
    assert crf.transition.grad.isfinite().all() and crf.transition.grad.abs().sum() > 0


def test_no_path_goes_from_outside_into_an_entity():
    transition, start = forbidden_transitions(["B-x", "B-y", "I-x", "O"])
    assert transition[:, 2].tolist() == [0.0, FORBIDDEN, 0.0, FORBIDDEN] and start[2] == FORBIDDEN
    emission = torch.tensor([[[0.0, 0.1, 5.0, 0.2], [0.0, 0.0, 5.0, 1.0]]])
    path = viterbi(emission, transition, start, torch.zeros(4), torch.ones(1, 2, dtype=torch.bool))
    assert path.tolist() == [[0, 2]]


def test_an_inside_tag_that_never_begins_may_stand_anywhere():
    transition, start = forbidden_transitions(["I-x", "O"])
    assert not transition.any() and not start.any()
