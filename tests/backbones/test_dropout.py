"""Pooled dropout does what torch's does: the share, the scale, the gradient; the mask follows torch's random state."""

import pytest
import torch

from habitus.backbones.dropout import _POOL_SIZE, Dropout


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("shape", [(300, 70), (_POOL_SIZE // 2 + 1,)], ids=["pool", "torch"])
def test_the_share_is_dropped_and_the_rest_scaled_up(share, shape):
    torch.manual_seed(0)
    dropped = Dropout(share).train()(torch.ones(shape))
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.015)
    torch.testing.assert_close(dropped[dropped > 0], torch.full_like(dropped[dropped > 0], 1 / (1 - share)))


def test_masks_differ_from_call_to_call_and_from_neighbour_to_neighbour():
    module, x = Dropout(0.5).train(), torch.ones(64, 64)
    torch.manual_seed(0)
    first, second = module(x), module(x)
    assert (first == second).float().mean() < 0.6
    assert (first[0] == first[1]).float().mean() < 0.9 and (first[:, 0] == first[:, 1]).float().mean() < 0.9


def test_the_random_state_of_torch_decides():
    module, x = Dropout(0.5).train(), torch.ones(64, 64)
    state = torch.get_rng_state()
    first = module(x)
    module(x)
    torch.set_rng_state(state)
    assert torch.equal(module(x), first)


def test_the_gradient_passes_where_the_value_does():
    x = torch.randn(40, 40, requires_grad=True)
    dropped = Dropout(0.25).train()(x)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), dropped.detach())
    assert torch.equal(x.grad == 0, dropped == 0)


@pytest.mark.parametrize("module", [Dropout(0.0).train(), Dropout(0.7).eval()])
def test_nothing_is_dropped_without_a_share_or_when_answering(module):
    x = torch.randn(5, 5)
    assert torch.equal(module(x), x)
