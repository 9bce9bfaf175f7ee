"""The Transformer: positions are relative, in steps and in days; wrong sizes are refused with a way out."""

from types import SimpleNamespace

import pytest
import torch

from habitus.backbones import Transformer
from habitus.backbones.transformer import rotate
from habitus.errors import ConfigError

T, D, H = 9, 16, 4


def batch_of(age_days_BT, lengths=None):
    B, n_steps = age_days_BT.shape
    lengths = torch.full((B,), n_steps) if lengths is None else lengths
    is_step = torch.arange(n_steps) < lengths[:, None]
    return SimpleNamespace(age_days=age_days_BT, is_step=is_step, lengths=lengths, has_padding=not bool(is_step.all()))


def ages(n_steps=T, seed=0):
    gaps = torch.rand(1, n_steps, generator=torch.Generator().manual_seed(seed)) * 3
    return gaps.flip(1).cumsum(1).flip(1)


def scores_of(age_days_BT, **options):
    """Return the rotated scores (H, T, T) of one query and one key that stand at every step."""
    stack, seen = Transformer(hidden_size=D, n_heads=H, n_layers=1, **options).build().eval(), []
    stack.blocks[0].attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    with torch.no_grad():
        stack(torch.zeros(*age_days_BT.shape, D), batch_of(age_days_BT))
    generator = torch.Generator().manual_seed(5)
    q, k = (torch.randn(1, H, 1, D // H, generator=generator).expand(1, H, T, D // H) for _ in range(2))
    return (rotate(q, seen[0]) @ rotate(k, seen[0]).transpose(-1, -2))[0]


def diagonals_are_constant(scores_TT, tolerance=1e-4):
    return all(scores_TT.diagonal(shift).std(correction=0) < tolerance for shift in range(-T + 1, T))


@pytest.mark.parametrize("time_aware", [False, True])
def test_scores_depend_on_how_many_steps_apart(time_aware):
    scores = scores_of(ages(), time_aware=time_aware)
    for head in scores[: H // 2 if time_aware else H]:
        assert diagonals_are_constant(head)
        assert head[0].std() > 0.01


def test_heads_of_time_do_not_depend_on_steps():
    assert not any(diagonals_are_constant(head, 0.01) for head in scores_of(ages())[H // 2 :])


def test_scores_of_time_heads_depend_on_how_many_days_apart():
    regular = torch.arange(T).flip(0)[None] * 2.5  # equally far apart in days: then days and steps agree
    assert all(diagonals_are_constant(head) for head in scores_of(regular)[H // 2 :])
    shifted = scores_of(ages() + 40.0)
    torch.testing.assert_close(shifted, scores_of(ages()), atol=1e-3, rtol=1e-3)
    assert (scores_of(ages() * 1.5) - scores_of(ages()))[H // 2 :].abs().max() > 0.1


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_how_far_apart_events_lie_matters_only_when_time_aware(causal):
    x = torch.randn(1, T, D, generator=torch.Generator().manual_seed(1))
    for time_aware in (True, False):
        stack = Transformer(hidden_size=D, n_heads=H, time_aware=time_aware, causal=causal).build().eval()
        difference = (stack(x, batch_of(ages() * 2)) - stack(x, batch_of(ages()))).abs().max()
        assert (difference > 1e-4) == time_aware


@pytest.mark.parametrize("position", ["rotary", "sinusoidal", "learned"])
@torch.no_grad()
def test_order_matters_with_positions(position):
    x = torch.randn(1, T, D, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    stack = Transformer(hidden_size=D, n_heads=H, position=position, time_aware=False).build().eval()
    there, back = stack(x, batch_of(ages())), stack(x.flip(1), batch_of(ages())).flip(1)
    assert (there - back).abs().max() > 1e-3


@torch.no_grad()
def test_order_does_not_matter_without_positions():
    x = torch.randn(1, T, D, generator=torch.Generator().manual_seed(1))
    stack = Transformer(hidden_size=D, n_heads=H, position="none").build().eval()
    torch.testing.assert_close(stack(x, batch_of(ages())), stack(x.flip(1), batch_of(ages())).flip(1))


@torch.no_grad()
def test_a_cls_step_stands_in_front():
    stack = Transformer(hidden_size=D, n_heads=H, pooling="cls").build().eval()
    assert stack(torch.zeros(2, T, D), batch_of(ages().expand(2, T), torch.tensor([T, 3]))).shape == (2, 1 + T, D)


def test_too_many_steps_for_learned_positions_are_refused():
    stack = Transformer(hidden_size=D, position="learned", max_positions=4).build()
    with pytest.raises(ConfigError, match="A row of 9 steps exceeds max_positions=4"):
        stack(torch.zeros(1, T, D), batch_of(ages()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 100, "n_heads": 8}, r"hidden_size=100 cannot be split into n_heads=8; use n_heads in .*=104"),
        ({"hidden_size": 12, "n_heads": 4}, "must be even"),
        ({"pooling": "cls", "causal": True}, "use 'last'"),
        ({"n_heads": 0}, "n_heads"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"n_layers": 0}, "n_layers"),
        ({"position": "rotry"}, "rotary"),
        ({"pooling": "sum"}, "mean"),
    ],
)
def test_options_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Transformer(**options)
