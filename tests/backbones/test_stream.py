"""One event at a time, or only the last step of each row: the same states as the whole history at once gives."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load, save

from habitus.backbones import CNN, GRU, LSTM, RNN, Transformer
from habitus.backbones.stream import _FIRST_CAPACITY, StreamState
from habitus.errors import ConfigError

B, T, D = 3, 9, 16
SMALL = {"hidden_size": D, "n_layers": 2}
TRANSFORMERS = {
    **{
        f"{position} {'days' if days else 'no days'}": Transformer(**SMALL, position=position, time_aware=days)
        for position in ("rotary", "sinusoidal", "learned", "none")
        for days in (True, False)
    },
    "one head": Transformer(hidden_size=D, n_heads=1, n_layers=1),
    "pairs alone": Transformer(hidden_size=D, n_heads=8, n_layers=3),
    "odd heads": Transformer(hidden_size=15, n_heads=5, position="none"),
    "swiglu": Transformer(**SMALL, feedforward_kind="swiglu"),
    "gates": Transformer(**SMALL, residual_gate=True),
    "both": Transformer(**SMALL, feedforward_kind="swiglu", residual_gate=True, feedforward=3),
}
RECURRENT = {
    f"{kind.__name__.lower()} {n}": kind(hidden_size=D, n_layers=n) for kind in (RNN, LSTM, GRU, CNN) for n in (1, 2, 3)
}
ALL = TRANSFORMERS | RECURRENT


def stack_of(config, seed=0):
    """Return a network with weights that are large enough for every part to show."""
    stack = config.build().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return stack


def steps_and_days(n_streams=B, n_steps=T, width=D, seed=1, gap=1.0):
    generator = torch.Generator().manual_seed(seed)
    days = (torch.rand(n_streams, n_steps, generator=generator, dtype=torch.float64) * gap).cumsum(1)
    return torch.randn(n_streams, n_steps, width, generator=generator), days


def batch_of(days, lengths=None):
    """Return what backbones read of a batch whose cutoff is one day after the last event."""
    n_streams, n_steps = days.shape
    lengths = torch.full((n_streams,), n_steps) if lengths is None else torch.tensor(lengths)
    is_step = torch.arange(n_steps) < lengths[:, None]
    ages = (days.max() + 1 - days).float()
    return SimpleNamespace(age_days=ages, is_step=is_step, lengths=lengths, has_padding=not bool(is_step.all()))


def streamed(stack, steps, days, state=None):
    """Return the answers (B, T, D) of one step after the other, and the state."""
    state = state or stack.start(len(steps))
    answers = []
    for index in range(steps.shape[1]):
        answer, state = stack.step(steps[:, index], days[:, index], state)
        answers.append(answer)
    return torch.stack(answers, 1), state


def close(got, expected, atol=1e-5):
    torch.testing.assert_close(got, expected, atol=atol, rtol=0.0)


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_one_event_at_a_time_equals_the_whole_history(name):
    steps, days = steps_and_days(width=ALL[name].hidden_size)
    stack = stack_of(ALL[name])
    answers, state = streamed(stack, steps, days)
    close(answers, stack(steps, batch_of(days)))
    assert state.n_steps == T and answers.std() > 0.1


@pytest.mark.parametrize("name", ["rotary days", "sinusoidal no days", "gru 2", "rnn 2", "lstm 2"])
@torch.no_grad()
def test_a_stream_outgrows_its_memory(name):
    n_steps = 2 * _FIRST_CAPACITY + 3
    steps, days = steps_and_days(1, n_steps, gap=0.1)
    stack = stack_of(ALL[name])
    close(streamed(stack, steps, days)[0], stack(steps, batch_of(days)))


@torch.no_grad()
def test_a_position_beyond_the_first_table_of_rotations():
    steps, days = steps_and_days(1, 260, width=4, gap=0.01)
    stack = stack_of(Transformer(hidden_size=4, n_heads=1, n_layers=1))
    close(streamed(stack, steps, days)[0], stack(steps, batch_of(days)))


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_a_state_that_was_saved_and_restored_goes_on_alike(name):
    steps, days = steps_and_days(width=ALL[name].hidden_size)
    stack = stack_of(ALL[name])
    _, state = streamed(stack, steps[:, :5], days[:, :5])
    restored = StreamState.from_tensors(load(save(state.tensors())))
    assert restored.n_steps == 5
    again, _ = streamed(stack, steps[:, 5:], days[:, 5:], restored)
    assert torch.equal(again, streamed(stack, steps[:, 5:], days[:, 5:], state)[0])
    close(again, stack(steps, batch_of(days))[:, 5:])


@pytest.mark.parametrize("name", ["rotary days", "learned no days", "gru 2", "lstm 2"])
def test_saved_tensors_hold_what_was_read_and_share_nothing(name):
    steps, days = steps_and_days()
    stack = stack_of(ALL[name])
    _, state = streamed(stack, steps[:, :2], days[:, :2])
    saved = state.tensors()
    kept = {key: value.clone() for key, value in saved.items()}
    streamed(stack, steps[:, 2:], days[:, 2:], state)
    assert all(torch.equal(saved[key], kept[key]) for key in kept)
    if "keys_values" in saved:
        assert saved["keys_values"].shape == (2, 2, B, 4, 3, 4) and saved["days"].dtype == torch.float64


@pytest.mark.parametrize("n_before", [2, _FIRST_CAPACITY - 1])
@pytest.mark.parametrize("name", ["rotary days", "none no days", "gru 1", "rnn 1", "lstm 1"])
@torch.no_grad()
def test_two_futures_of_one_state_do_not_meet(name, n_before):
    steps, days = steps_and_days(n_steps=n_before + 3)
    other, _ = steps_and_days(n_steps=n_before + 3, seed=7)
    stack = stack_of(ALL[name])
    _, state = streamed(stack, steps[:, :n_before], days[:, :n_before])
    after = steps[:, n_before:], days[:, n_before:]
    first, later = streamed(stack, *after, state)
    second, _ = streamed(stack, other[:, n_before:], days[:, n_before:], state)
    assert torch.equal(streamed(stack, *after, state)[0], first) and (second - first).abs().max() > 0.01
    one_more = steps[:, 0], days[:, -1] + 1
    close(stack.step(*one_more, later)[0], streamed(stack, *extended(steps, days, one_more))[0][:, -1])


def extended(steps, days, one_more):
    return torch.cat([steps, one_more[0][:, None]], 1), torch.cat([days, one_more[1][:, None]], 1)


@torch.no_grad()
def test_the_origin_of_days_does_not_matter():
    steps, days = steps_and_days()
    stack = stack_of(ALL["rotary days"])
    close(streamed(stack, steps, days + 20_000)[0], streamed(stack, steps, days)[0], atol=1e-6)


@torch.no_grad()
def test_days_between_events_matter_to_a_network_that_is_aware_of_time():
    steps, days = steps_and_days()
    for name, matter in (("rotary days", True), ("rotary no days", False)):
        stack = stack_of(ALL[name])
        change = (streamed(stack, steps, days * 3)[0] - streamed(stack, steps, days)[0]).abs().max()
        assert (change > 1e-3) == matter


@torch.no_grad()
def test_streams_that_step_together_do_not_see_each_other():
    steps, days = steps_and_days()
    stack = stack_of(ALL["rotary days"])
    together, _ = streamed(stack, steps, days)
    alone = [streamed(stack, steps[[row]], days[[row]])[0] for row in range(B)]
    close(together, torch.cat(alone), atol=1e-6)


def in_place(stack, other):
    stack.load_state_dict(other.state_dict())


def by_assignment(stack, other):
    stack.load_state_dict(other.state_dict(), assign=True)


def by_module(stack, other):
    for name, module in other.named_children():
        setattr(stack, name, module)
    stack.lead = getattr(other, "lead", None)


def by_data(stack, other):
    for own, new in zip(stack.parameters(), other.parameters(), strict=True):
        own.data = new.data


@pytest.mark.parametrize("change", [in_place, by_assignment, by_module, by_data])
@pytest.mark.parametrize("name", ["rotary days", "gates", "gru 2", "lstm 2"])
def test_weights_that_change_after_the_start_are_read(name, change):
    steps, days = steps_and_days()
    stack, other = stack_of(ALL[name]), stack_of(ALL[name], seed=5)
    before, _ = streamed(stack, steps, days)
    change(stack, other)
    after, _ = streamed(stack, steps, days)
    assert torch.equal(after, streamed(other, steps, days)[0]) and (after - before).abs().max() > 0.01


def test_a_copy_of_a_network_reads_its_own_weights():
    steps, days = steps_and_days()
    stack = stack_of(ALL["rotary days"])
    before, _ = streamed(stack, steps, days)
    copy = deepcopy(stack)
    in_place(copy, stack_of(ALL["rotary days"], seed=5))
    assert torch.equal(streamed(stack, steps, days)[0], before)
    assert (streamed(copy, steps, days)[0] - before).abs().max() > 0.01


@pytest.mark.parametrize("name", ["rotary days", "gru 2", "rnn 2", "lstm 2"])
def test_steps_drop_nothing_and_keep_no_graph(name):
    steps, days = steps_and_days()
    stack = stack_of(ALL[name])
    expected, _ = streamed(stack, steps, days)
    answers, _ = streamed(stack.train(), steps.requires_grad_(), days)
    assert torch.equal(answers, expected) and not answers.requires_grad


LENGTHS = [[T, T, T], [T, 1, 4], [2, T, 2]]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_the_last_states_alone_equal_those_of_the_whole_forward(name, lengths):
    steps, days = steps_and_days(width=ALL[name].hidden_size)
    stack, batch = stack_of(ALL[name]), batch_of(days, lengths)
    expected = stack(steps, batch)[torch.arange(B), batch.lengths - 1]
    close(stack.forward_last(steps, batch), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["rotary days", "learned no days", "both", "gru 2", "rnn 2", "lstm 2"])
def test_the_last_states_have_the_gradients_of_the_whole_forward(name):
    steps, days = steps_and_days()
    stack, batch = stack_of(ALL[name]), batch_of(days, [T, 1, 4])
    gradients = []
    for last in (stack.forward_last(steps, batch), stack(steps, batch)[torch.arange(B), batch.lengths - 1]):
        gradients.append(torch.autograd.grad(last.square().sum(), list(stack.parameters()), allow_unused=True))
    for own, expected in zip(*gradients, strict=True):
        if expected is not None:
            close(own, expected, atol=2e-5)


@torch.no_grad()
def test_the_last_states_in_half_precision_are_near():
    steps, days = steps_and_days()
    stack, batch = stack_of(ALL["rotary days"]), batch_of(days, [T, 1, 4])
    with torch.autocast("cpu", torch.bfloat16):
        half = stack.forward_last(steps, batch)
    close(half.float(), stack.forward_last(steps, batch), atol=0.05)


def refusals():
    steps, days = torch.zeros(1, 2, D), torch.zeros(1, 2, dtype=torch.float64)
    sees_all = Transformer(hidden_size=D, causal=False).build()
    cases = [(sees_all, "causal=True")]
    for kind in (GRU, LSTM, RNN):
        cases.append((kind(hidden_size=D, bidirectional=True).build(), rf"{kind.__name__}\(bidirectional=False\)"))
    for stack, said in cases:
        yield stack.start, "start needs states that see no later step.*" + said
        yield lambda stack=stack: stack.forward_last(steps, batch_of(days)), "forward_last needs.*" + said
    short = Transformer(hidden_size=D, position="learned", max_positions=1).build()
    yield lambda: streamed(short, steps, days), "A row of 2 steps exceeds max_positions=1"


@pytest.mark.parametrize("case", range(9))
def test_what_cannot_be_streamed_is_refused(case):
    action, said = list(refusals())[case]
    with pytest.raises(ConfigError, match=said):
        action()
