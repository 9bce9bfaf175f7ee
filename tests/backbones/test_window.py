"""Attention within a window: what full attention gives under a dense T x T mask of the window, at every length."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from habitus.backbones import Transformer, window
from habitus.backbones.attention import Attention, rotate
from habitus.backbones.stream import StreamState
from habitus.errors import ConfigError

D, H, CHUNK = 16, 4, 3


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Chunks as short as the window where the window is 3 or more, so that short rows have many."""
    monkeypatch.setattr(window, "_SHORTEST_CHUNK", CHUNK)


def stack_of(seed=0, **options):
    """Return a network with weights that are large enough for every part to show."""
    stack = Transformer(**({"hidden_size": D, "n_heads": H} | options)).build().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return stack


def steps_and_batch(lengths, seed=1):
    """Return step vectors and what backbones read of a batch; days ascend, with ties."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    shape = len(lengths), int(lengths.max())
    gaps = torch.rand(shape, generator=generator).sub(0.3).clamp_min(0)
    is_step = torch.arange(shape[1]) < lengths[:, None]
    ages = (1 + gaps.flip(1).cumsum(1).flip(1)).masked_fill(~is_step, 0.0)
    batch = SimpleNamespace(age_days=ages, is_step=is_step, lengths=lengths, has_padding=not bool(is_step.all()))
    return torch.randn(*shape, D, generator=generator), batch


def dense(attention, x, rotation, days, mask):
    """Attention under a T x T mask: every product is there, and most weights are 0."""
    n_steps, d = x.shape[1], D // H
    q, k, v = (part.unflatten(-1, (H, d)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    scores = (q @ k.transpose(-1, -2)).double() / math.sqrt(d)
    if days is not None:
        apart = (days[:, :, None] - days[:, None, :]).abs().double()
        apart[:, :, 0] = 0
        scores = scores - attention.log_rate.exp()[:, None, None] * apart[:, None]
    i, j = torch.arange(n_steps)[:, None], torch.arange(n_steps)
    near = (i - j >= 0) & (i - j < attention.window) if attention.causal else (i - j).abs() < attention.window
    seen = (near & (i > 0)) | (j == 0) | ((i == 0) & (not attention.causal))
    seen = seen if mask is None else seen & mask
    mixed = scores.masked_fill(~seen, -math.inf).softmax(-1).float() @ v
    return attention.out(mixed.transpose(1, 2).flatten(-2))


def expected_of(stack, steps, batch, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Attention, "forward", dense)
        return stack(steps, batch)


def close(got, expected, batch, atol=1e-5):
    pad = got.shape[1] - batch.is_step.shape[1]  # 1 with a leading step in front
    real = torch.nn.functional.pad(batch.is_step, (pad, 0), value=True)
    torch.testing.assert_close(got[real], expected[real], atol=atol, rtol=1e-5)


OPTIONS = {
    **{
        f"{position} {'days' if days else 'no days'}": {"position": position, "time_aware": days}
        for position in ("rotary", "sinusoidal", "learned", "none")
        for days in (True, False)
    },
    "gates": {"residual_gate": True, "feedforward_kind": "swiglu"},
}
LENGTHS = [[1], [2], [3], [4], [5], [6], [7], [11], [12], [13], [29], [13, 1, 6], [12, 12, 5], [4, 3, 2]]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_it_equals_full_attention_under_a_dense_mask(name, causal, monkeypatch):
    stack = stack_of(**OPTIONS[name], causal=causal, window=4)
    for lengths in LENGTHS:
        steps, batch = steps_and_batch(lengths)
        close(stack(steps, batch), expected_of(stack, steps, batch, monkeypatch), batch)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    width=st.integers(1, 45),
    causal=st.booleans(),
    days=st.booleans(),
    cls=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_at_any_length_and_window(lengths, width, causal, days, cls, seed):
    pooling = "cls" if cls and not causal else "count"
    stack = stack_of(seed, window=width, causal=causal, time_aware=days, pooling=pooling)
    steps, batch = steps_and_batch(lengths, seed)
    close(stack(steps, batch), expected_of(stack, steps, batch, pytest.MonkeyPatch()), batch)


@pytest.mark.parametrize("width", [9, 10, 99])
@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_rows_of_at_most_a_window_have_the_same_bits_as_without_one(width, causal):
    steps, batch = steps_and_batch([9, 2])
    with_window, without = stack_of(window=width, causal=causal), stack_of(causal=causal)
    assert torch.equal(with_window(steps, batch), without(steps, batch))


@torch.no_grad()
def test_a_shorter_window_does_change_the_states():
    steps, batch = steps_and_batch([29])
    for causal in (True, False):
        change = stack_of(window=4, causal=causal)(steps, batch) - stack_of(causal=causal)(steps, batch)
        assert change.abs().max() > 0.01


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", ["rotary days", "learned no days"])
def test_gradients_equal_those_of_the_dense_mask(name, causal, monkeypatch):
    stack, (steps, batch) = stack_of(**OPTIONS[name], causal=causal, window=4), steps_and_batch([13, 6])
    found = []
    for states in (stack(steps, batch), expected_of(stack, steps, batch, monkeypatch)):
        real = states.masked_fill(~batch.is_step[..., None], 0.0)
        found.append(torch.autograd.grad(real.sin().sum(), list(stack.parameters())))
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, atol=5e-5, rtol=1e-4)


@torch.no_grad()
def test_a_state_knows_the_events_within_its_reach_and_no_others():
    """Of a causal network, n_layers * (window - 1) + 1 events; not causal, the leading step carries all to all."""
    n_layers, width, n_steps = 2, 4, 20
    reach = n_layers * (width - 1) + 1
    steps, batch = steps_and_batch([n_steps])
    for changed, moves in ((n_steps - reach - 1, False), (n_steps - reach, True)):
        other = steps.clone()
        other[:, changed] *= -1.0
        stack = stack_of(window=width, n_layers=n_layers)
        assert ((stack(other, batch) - stack(steps, batch))[:, -1].abs().max() > 1e-6) == moves
        stack = stack_of(window=width, n_layers=n_layers, causal=False)
        assert (stack(other, batch) - stack(steps, batch))[:, -1].abs().max() > 1e-6


@torch.no_grad()
def test_later_steps_change_no_earlier_state_by_one_bit():
    stack, (steps, batch) = stack_of(window=4), steps_and_batch([29])
    other, later = steps.clone(), SimpleNamespace(**vars(batch))
    other[:, 17:] *= -1.0
    later.age_days = torch.cat([batch.age_days[:, :17], batch.age_days[:, 17:] / 2], 1)
    change = (stack(other, later) - stack(steps, batch)).abs()
    assert change[:, :17].max() == 0.0 and change[:, 17:].max() > 0.01


@torch.no_grad()
def test_events_of_decades_ago_keep_the_days_between_them():
    """Days are counted from the chunk's first step: a minute apart is a minute apart, however long ago it was."""
    steps, batch = steps_and_batch([29])
    stack = stack_of(window=4)
    with torch.no_grad():
        for block in stack.blocks:
            block.attention.log_rate.fill_(3.0)
    near = stack(steps, batch)
    batch.age_days = batch.age_days + 2048.0
    torch.testing.assert_close(stack(steps, batch), near, atol=5e-3, rtol=0)
    batch.age_days = batch.age_days * 100
    assert stack(steps, batch).isfinite().all()


def test_in_training_it_drops_and_learns():
    stack, (steps, batch) = stack_of(window=4, dropout=0.5).train(), steps_and_batch([29, 5])
    states = stack(steps, batch)
    assert (states - stack(steps, batch)).abs().max() > 0.1
    states.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in stack.parameters())


@pytest.mark.parametrize("days", [True, False])
@torch.no_grad()
def test_in_half_precision_it_is_near(days):
    stack, (steps, batch) = stack_of(window=4, time_aware=days), steps_and_batch([29, 5])
    with torch.autocast("cpu", torch.bfloat16):
        half = stack(steps, batch)
    close(half.float(), stack(steps, batch), batch, atol=0.15)


@pytest.mark.parametrize("lengths", [[29, 29], [29, 3], [5, 2], [4, 4]])
@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_the_last_states_alone_equal_those_of_the_whole_forward(name, lengths):
    stack, (steps, batch) = stack_of(**OPTIONS[name], window=4), steps_and_batch(lengths)
    expected = stack(steps, batch)[torch.arange(2), batch.lengths - 1]
    torch.testing.assert_close(stack.forward_last(steps, batch), expected, atol=1e-5, rtol=0)


def streamed(stack, steps, days, state=None):
    state, answers = state or stack.start(len(steps)), []
    for index in range(steps.shape[1]):
        answer, state = stack.step(steps[:, index], days[:, index], state)
        answers.append(answer)
    return torch.stack(answers, 1), state


@pytest.mark.parametrize(
    ("name", "width"), [(name, 30) for name in OPTIONS] + [("rotary days", n) for n in (1, 2, 4, 70, 140, 200)]
)
@torch.no_grad()
def test_one_event_at_a_time_equals_the_whole_history(name, width):
    steps, batch = steps_and_batch([150, 150])
    stack = stack_of(**OPTIONS[name], window=width)
    answers, _ = streamed(stack, steps, -batch.age_days.double())
    torch.testing.assert_close(answers, stack(steps, batch), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_stream_keeps_two_windows_at_most():
    steps, batch = steps_and_batch([200])
    stack = stack_of(window=40)
    _, state = streamed(stack, steps, -batch.age_days.double())
    assert state.memory.keys_values.shape[-2] <= 80 and state.n_steps == 200
    assert state.tensors()["keys_values"].shape[-2] <= 80


@pytest.mark.parametrize("n_before", [3, 7, 8, 9, 10, 40])
@torch.no_grad()
def test_saved_states_go_on_alike_and_two_futures_of_one_state_do_not_meet(n_before):
    steps, batch = steps_and_batch([60])
    days, other = -batch.age_days.double(), steps.flip(1)
    stack = stack_of(window=4)
    _, state = streamed(stack, steps[:, :n_before], days[:, :n_before])
    restored = StreamState.from_tensors(load(save(state.tensors())))
    first, _ = streamed(stack, steps[:, n_before:], days[:, n_before:], state)
    second, _ = streamed(stack, other[:, n_before:], days[:, n_before:], state)
    assert torch.equal(streamed(stack, steps[:, n_before:], days[:, n_before:], state)[0], first)
    assert torch.equal(streamed(stack, steps[:, n_before:], days[:, n_before:], restored)[0], first)
    assert (second - first).abs().max() > 0.01
    torch.testing.assert_close(first, stack(steps, batch)[:, n_before:], atol=1e-5, rtol=0)


def test_scores_of_a_window_are_the_only_ones_that_are_made(monkeypatch):
    """Not a matter of time or memory: the products asked for grow with the length, not with its square."""
    asked, own = [], torch.nn.functional.scaled_dot_product_attention

    def counted(q, k, v, **options):
        asked.append(q.shape[0] * q.shape[2] * k.shape[2])
        return own(q, k, v, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    n_products = []
    for n_steps in (120, 1200):
        steps, batch = steps_and_batch([n_steps])
        asked.clear()
        stack_of(window=10, causal=False)(steps, batch)
        n_products.append(sum(asked))
    assert n_products[1] <= 10 * n_products[0] * 1.01
    assert np.prod(n_products) > 0


@pytest.mark.parametrize("width", [0, -3])
def test_a_window_of_nothing_is_refused(width):
    with pytest.raises(ConfigError, match=f"window={width} sees no step; use 1 or more"):
        Transformer(window=width)
