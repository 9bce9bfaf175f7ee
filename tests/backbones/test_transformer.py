"""The Transformer: positions are relative, in steps and in days; wrong options are refused with a way out."""

from types import SimpleNamespace

import pytest
import torch

from habitus.backbones import Transformer
from habitus.backbones.attention import rotate
from habitus.errors import ConfigError

T, D, H = 9, 16, 4


def batch_of(age_days_BT, lengths=None):
    B, n_steps = age_days_BT.shape
    lengths = torch.full((B,), n_steps) if lengths is None else lengths
    is_step = torch.arange(n_steps) < lengths[:, None]
    return SimpleNamespace(age_days=age_days_BT, is_step=is_step, lengths=lengths, has_padding=not bool(is_step.all()))


def ages(seed=0):
    gaps = torch.rand(1, T, generator=torch.Generator().manual_seed(seed)) * 3
    return gaps.flip(1).cumsum(1).flip(1)


def steps(seed=1):
    return torch.randn(1, T, D, generator=torch.Generator().manual_seed(seed))


def stack_of(seed=0, **options):
    """Return a network with weights that are large enough for every part to show."""
    stack = Transformer(**({"hidden_size": D, "n_heads": H} | options)).build().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return stack


def rotation_of(**options):
    """Return the rotation that a network hands to its attention."""
    stack, seen = stack_of(**options), []
    stack.blocks[0].attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    with torch.no_grad():
        stack(steps(), batch_of(ages()))
    return seen[0]


def test_rotated_scores_depend_on_how_many_steps_apart_and_on_nothing_else():
    generator = torch.Generator().manual_seed(5)
    q, k = (torch.randn(1, H, 1, D // H, generator=generator).expand(1, H, T + 1, D // H) for _ in range(2))
    rotation = rotation_of()
    scores = (rotate(q, rotation) @ rotate(k, rotation).transpose(-1, -2))[0]
    for head in scores:
        assert all(head.diagonal(shift).std(correction=0) < 1e-4 for shift in range(-T, T + 1))
        assert head[0].std() > 0.01


def test_rotation_starts_at_none_and_turns_the_first_pair_by_one_radian_a_step():
    angle = rotation_of().angle()
    assert not angle[0].any()
    torch.testing.assert_close(angle[:4, 0], torch.tensor([0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(angle[1, 1].item(), 10_000.0 ** (-2 / 4))


@torch.no_grad()
def test_only_the_days_between_events_matter_not_the_days_to_the_cutoff():
    """Of a causal network; in one that sees all, the leading step stands at the cutoff and looks back."""
    stack = stack_of(causal=True)
    near, far = stack(steps(), batch_of(ages())), stack(steps(), batch_of(ages() + 40.0))
    torch.testing.assert_close(far, near, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_how_far_apart_events_lie_matters_only_when_time_aware(causal):
    for time_aware in (True, False):
        stack = stack_of(time_aware=time_aware, causal=causal)
        difference = (stack(steps(), batch_of(ages() * 2)) - stack(steps(), batch_of(ages()))).abs().max()
        assert (difference > 1e-3) == time_aware


@torch.no_grad()
def test_what_lies_long_ago_fades():
    """With time, an event a year before the others hardly moves their states; without, it does."""
    other = torch.cat([steps(2)[:, :1], steps()[:, 1:]], 1)
    long_ago = torch.cat([ages()[:, :1] + 365, ages()[:, 1:]], 1)
    for time_aware, moves in ((True, False), (False, True)):
        stack = Transformer(hidden_size=D, n_heads=H, n_layers=1, time_aware=time_aware).build().eval()
        change = (stack(other, batch_of(long_ago)) - stack(steps(), batch_of(long_ago))).abs()
        assert (change[:, 1:].max() > 1e-3) == moves


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_ages_of_decades_give_finite_states(causal):
    assert torch.isfinite(stack_of(causal=causal)(steps(), batch_of(ages() * 10_000))).all()


@pytest.mark.parametrize("position", ["rotary", "sinusoidal", "learned"])
@torch.no_grad()
def test_order_matters_with_positions(position):
    stack = stack_of(position=position, time_aware=False, causal=False)
    there, back = stack(steps(), batch_of(ages())), stack(steps().flip(1), batch_of(ages())).flip(1)
    assert (there - back).abs().max() > 1e-3


@torch.no_grad()
def test_order_does_not_matter_without_positions():
    stack = stack_of(position="none", time_aware=False, causal=False)
    there, back = stack(steps(), batch_of(ages())), stack(steps().flip(1), batch_of(ages())).flip(1)
    torch.testing.assert_close(there, back, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cls_step_stands_in_front():
    stack = stack_of(pooling="cls", causal=False)
    assert stack(torch.zeros(2, T, D), batch_of(ages().expand(2, T), torch.tensor([T, 3]))).shape == (2, 1 + T, D)
    assert stack_of()(torch.zeros(2, T, D), batch_of(ages().expand(2, T))).shape == (2, T, D)


def test_too_many_steps_for_learned_positions_are_refused():
    stack = Transformer(hidden_size=D, position="learned", max_positions=4).build()
    with pytest.raises(ConfigError, match=r"A row of 9 steps exceeds max_positions=4.* use max_positions=9, .*rotary"):
        stack(torch.zeros(1, T, D), batch_of(ages()))


def test_the_names_of_weights_stay_so_that_saved_models_load():
    block = ("attention_norm", "feedforward_norm", "attention.qkv", "attention.out", "up", "down")
    names = {f"blocks.0.{part}.{kind}" for part in block for kind in ("weight", "bias")}
    names |= {"lead", "norm.weight", "norm.bias", "blocks.0.attention.log_rate"}
    assert set(Transformer(hidden_size=D, n_layers=1).build().state_dict()) == names
    learned = Transformer(hidden_size=D, n_layers=1, position="learned").build()
    assert set(learned.state_dict()) == names | {"positions.weight"}


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
        ({"feedforward_kind": "swiglo"}, "swiglu"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
    ],
)
def test_options_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Transformer(**options)
