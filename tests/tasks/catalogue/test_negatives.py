"""Draws: reserved ids never, the share of the batch as asked, expected counts as counted by hand."""

import pytest
import torch

from habitus.tasks.catalogue import draw_negatives


def test_uniform_draws_are_candidates_expected_alike():
    ids, log_expected = draw_negatives(4000, 13)
    assert ids.unique().tolist() == list(range(3, 13))
    torch.testing.assert_close(log_expected.exp(), torch.full((4000,), 400.0))


def test_expected_counts_of_a_mixture_by_hand():
    targets = torch.tensor([3, 3, 3, 4])
    ids, log_expected = draw_negatives(10, 8, batch_targets=targets, in_batch_share=0.4)
    # Six uniform draws over five candidates, and four draws from the batch: 3/4 are id 3, 1/4 id 4.
    by_hand = {3: 6 / 5 + 3.0, 4: 6 / 5 + 1.0}
    torch.testing.assert_close(log_expected.exp(), torch.tensor([by_hand.get(i, 6 / 5) for i in ids.tolist()]))
    assert set(ids[6:].tolist()) <= {3, 4}


def test_counts_of_training_replace_those_of_the_batch():
    targets, counts = torch.tensor([3, 4, 4]), torch.tensor([0, 0, 0, 9, 1, 0])
    ids, log_expected = draw_negatives(6, 6, counts=counts, batch_targets=targets, in_batch_share=1.0)
    by_hand = {3: 6 * 0.9, 4: 6 * 0.1}
    torch.testing.assert_close(log_expected.exp(), torch.tensor([by_hand[i] for i in ids.tolist()]))


def test_an_id_that_training_never_counted_gets_a_finite_correction():
    counts = torch.tensor([0, 0, 0, 9, 0])
    _, log_expected = draw_negatives(3, 5, counts=counts, batch_targets=torch.tensor([4]), in_batch_share=1.0)
    assert log_expected.isfinite().all()


def test_drawn_as_often_as_expected():
    targets = torch.tensor([3] * 5 + [4] * 2 + [9])
    ids, log_expected = draw_negatives(40_000, 12, batch_targets=targets, in_batch_share=0.5)
    drawn = torch.bincount(ids, minlength=12)[ids]
    assert ((drawn / log_expected.exp()) - 1).abs().max() < 0.1


def test_a_share_without_targets_is_refused():
    with pytest.raises(ValueError, match="give batch_targets"):
        draw_negatives(4, 9, in_batch_share=0.5)


def test_draws_follow_the_global_generator_or_the_given_one():
    def draw(generator=None):
        return draw_negatives(50, 99, batch_targets=torch.arange(3, 9), in_batch_share=0.5, generator=generator)[
            0
        ].tolist()

    state = torch.get_rng_state()
    first = draw()
    assert draw() != first
    torch.set_rng_state(state)
    assert draw() == first
    assert draw(torch.Generator().manual_seed(1)) == draw(torch.Generator().manual_seed(1))
