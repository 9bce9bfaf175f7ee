"""The losses of embeddings beside loops in NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from habitus.tasks.embed_loss import at_sizes, cosent_loss, cosine_loss, negatives_loss


@pytest.fixture
def sides():
    torch.manual_seed(0)
    return [F.normalize(torch.randn(5, 4), dim=-1) for _ in range(2)]


def log_share(scores, own, allowed):
    kept = [scores[j] for j in range(len(scores)) if j == own or allowed[j]]
    return scores[own] - np.log(np.exp(kept).sum())


def test_negatives_leave_out_equal_sides_and_keep_those_known_apart(sides):
    left, right = sides
    is_pair = torch.tensor([True, True, False, True, True])
    group = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 1], [2, 3]])  # left 0 thrice, right 1 twice
    found = negatives_loss(left, right, 0.5, is_pair, group)
    scores, total = (left @ right.T / 0.5).numpy(), 0.0
    same = [[any(group[i][s] == group[j][s] for s in (0, 1)) for j in range(5)] for i in range(5)]
    for i in range(5):
        if not is_pair[i]:
            continue
        apart = [not is_pair[j] and group[i][1] != group[j][1] for j in range(5)]
        total += log_share(scores[i], i, [not same[i][j] or apart[j] for j in range(5)]) / 2
        total += log_share(scores[:, i], i, [not same[i][j] for j in range(5)]) / 2
    assert found.item() == pytest.approx(-total, rel=1e-5)


def test_cosent_compares_every_two_pairs_of_different_score(sides):
    left, right = sides
    score, cosine = [0.0, 1.0, 1.0, 3.0, 2.0], (left * right).sum(-1).numpy()
    terms = [np.exp((cosine[i] - cosine[j]) / 0.1) for i in range(5) for j in range(5) if score[i] < score[j]]
    found = cosent_loss(left, right, torch.tensor(score), 0.1)
    assert found.item() == pytest.approx(5 * np.log(1 + sum(terms)), rel=1e-5)
    assert cosent_loss(left, right, torch.ones(5), 0.1).item() == 0.0  # nothing to order


def test_matryoshka_is_the_mean_over_widths_of_vectors_cut_and_brought_to_length_one():
    torch.manual_seed(1)
    left, right, share = torch.randn(3, 6), torch.randn(3, 6), torch.tensor([0.1, 0.5, 0.9])
    wanted = [
        cosine_loss(F.normalize(left[:, :d], dim=-1), F.normalize(right[:, :d], dim=-1), share) for d in (6, 4, 2)
    ]
    found = at_sizes(left, right, (4, 2, 99), lambda a, b: cosine_loss(a, b, share))
    torch.testing.assert_close(found, torch.stack(wanted).mean())
