"""The network of next events: its loss against whole logits by hand, and what a step may know."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from habitus.backbones import GRU, Transformer
from habitus.data.histories import Histories, Windows
from habitus.data.next_batch import HistoryTensors
from habitus.errors import ConfigError
from habitus.tasks import Inputs
from habitus.tasks.next_event import _GAP_EDGES_DAYS, NextEvent, NextEventNetwork, _gap_number

DAY = 86_400_000_000
BACKBONES = {
    "gru": GRU(hidden_size=8),
    "transformer": Transformer(hidden_size=8, n_heads=2, n_layers=2, pooling="last"),
    "learned positions": Transformer(
        hidden_size=8, n_heads=2, n_layers=1, position="learned", time_aware=False, pooling="last"
    ),
}
FULL = NextEvent("item", also=("kind", "amount"))


def make(seed=0, lengths=(6, 2, 9, 4), first_id=3):
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    times = [np.sort(rng.integers(19_000 * DAY, 19_030 * DAY, n)) for n in lengths]
    amount = np.stack([rng.normal(size=total), rng.random(total) < 0.3], axis=1).astype(np.float32)
    amount[:, 0] *= 1 - amount[:, 1]
    return Histories(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        {
            "item": rng.integers(first_id, 9, total).astype(np.int32),
            "kind": rng.integers(1, 6, total).astype(np.int32),
        },
        {"amount": amount},
        np.concatenate(times),
    )


def network(task=FULL, backbone="transformer", seed=0, gaps=(0.5, 1.0, 4.0)):
    torch.manual_seed(seed)
    inputs = Inputs({"item": 9, "kind": 6}, {"amount": [-1.0, 0.0, 1.0]}, {}, {})
    made = NextEventNetwork(inputs, BACKBONES[backbone], task, np.array(gaps)).eval()
    with torch.no_grad():  # so that no part is at zero
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def whole(histories):
    return Windows(histories.offsets[:-1], histories.offsets[1:])


def states_of(made, batch):
    with torch.no_grad():
        return made.backbone(made._steps(batch, batch.upcoming), batch)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_loss_is_the_sum_of_whole_logits_by_hand(backbone):
    made, histories = network(backbone=backbone), make()
    batch = HistoryTensors(histories).training(whole(histories))
    states, expected = states_of(made, batch), 0.0
    for row, (begin, end) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:], strict=True)):
        for step in range(end - begin - 1):
            state, following = states[row, step], begin + step + 1
            logits = (made.item_table @ state + made.item_bias)[3:]
            expected += F.cross_entropy(logits, torch.tensor(int(histories.ids["item"][following]) - 3))
            kind = made.heads["field_kind"](state)
            expected += F.cross_entropy(kind, torch.tensor(int(histories.ids["kind"][following])))
            value, is_missing = histories.numbers["amount"][following]
            expected += 0 if is_missing else (made.heads["field_amount"](state)[0] - float(value)).abs()
            gap = torch.tensor([(histories.time_us[following] - histories.time_us[following - 1]) / DAY])
            expected -= made.task.when_weight * made.when.log_prob(state[None], gap.float())[0]
    assert torch.allclose(made(batch), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sampled", "gbce", "bce"])
def test_other_losses_are_finite_and_teach(kind):
    made = network(NextEvent("item", loss=kind, negatives=4)).train()
    batch = HistoryTensors(make()).training(whole(make()))
    loss = made(batch)
    loss.backward()
    assert loss.isfinite() and made.item_table.grad[3:].abs().sum() > 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_loss_of_a_batch_is_the_sum_of_its_rows_in_any_order(backbone):
    made, histories = network(backbone=backbone), make()
    tensors, windows = HistoryTensors(histories), whole(histories)
    together = made(tensors.training(windows)).item()
    turned = made(tensors.training(windows.take(np.array([3, 0, 2, 1])))).item()
    alone = sum(made(tensors.training(windows.take(np.array([row])))).item() for row in range(4))
    assert turned == pytest.approx(together, rel=1e-5) and alone == pytest.approx(together, rel=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("query_time", [0.0, 1.0])
def test_states_change_by_exactly_nothing_when_later_events_and_times_do(backbone, query_time):
    made, histories = network(NextEvent("item", query_time=query_time), backbone), make()
    first = 8 + 5  # of entity 2
    later = np.arange(21) >= first
    changed = Histories(
        histories.offsets,
        {name: np.where(later, 5, ids).astype(np.int32) for name, ids in histories.ids.items()},
        {"amount": np.where(later[:, None], 1.0, histories.numbers["amount"]).astype(np.float32)},
        np.where(later, histories.time_us + 5000 * DAY + np.arange(21) * DAY, histories.time_us),
    )
    window, answers = Windows(np.array([8]), np.array([17])), []
    for log in (histories, changed):
        batch = HistoryTensors(log).training(window)
        if query_time:  # the time of the asked event is a given: told, only the steps before it are alike
            batch = replace(batch, upcoming=replace(batch.upcoming, gap_known=torch.ones(1, dtype=torch.bool)))
        answers.append(states_of(made, batch))
    n_same = 4 if query_time else 5
    difference = (answers[0] - answers[1]).abs()[0]
    assert difference[:n_same].max() == 0.0 and difference[n_same:].max() > 1e-4
    asked = Windows(np.array([8]), np.array([first]))
    for at_us in (None, histories.time_us[[first]]):
        old, new = (made.answer_states(HistoryTensors(log).question(asked, at_us)) for log in (histories, changed))
        assert torch.equal(old, new)


def test_training_and_asking_give_one_state():
    made, histories = network(), make()
    tensors = HistoryTensors(histories)
    trained = states_of(made, tensors.training(Windows(np.array([8]), np.array([17]))))
    asked = made.answer_states(tensors.question(Windows(np.array([8]), np.array([16]))))
    assert torch.allclose(trained[0, 7], asked[0], atol=1e-5)


def test_unknown_and_missing_items_are_read_but_are_no_answer_to_learn():
    made = network(NextEvent("item", when=False))
    histories = make(lengths=(4,))
    histories.ids["item"][:] = [5, 1, 2, 6]
    batch = HistoryTensors(histories).training(whole(histories))
    state = states_of(made, batch)[0, 2]
    by_hand = F.cross_entropy((made.item_table @ state + made.item_bias)[3:], torch.tensor(6 - 3))
    assert torch.allclose(made(batch), by_hand, rtol=1e-5)


def test_a_batch_with_no_known_target_has_no_loss_and_no_trouble():
    made = network(NextEvent("item", when=False)).train()
    histories = make(lengths=(4, 3))
    histories.ids["item"][:] = 2
    loss = made(HistoryTensors(histories).training(whole(histories)))
    loss.backward()
    assert loss.item() == 0.0 and made.item_table.grad is not None and made.item_table.grad.abs().sum() == 0


def test_rows_that_are_told_read_the_gap_to_the_next_event():
    made = network(NextEvent("item", query_time=0.5))
    tensors = HistoryTensors(make())
    window = Windows(np.array([0, 0]), np.array([4, 4]))
    at_us = tensors.histories.time_us[3] + np.array([1, 50]) * DAY
    told, untold = made.answer_states(tensors.question(window, at_us)), made.answer_states(tensors.question(window))
    assert torch.equal(untold[0], untold[1]) and not torch.allclose(told[0], told[1])
    never = network(NextEvent("item"))
    assert torch.equal(*never.answer_states(tensors.question(window, at_us)))


def test_the_share_of_told_rows_is_drawn_from_the_seed():
    made, tensors = network(NextEvent("item", query_time=0.3)), HistoryTensors(make(lengths=(3,) * 400))
    upcoming = tensors.training(whole(tensors.histories)).upcoming
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(made._told(upcoming).gap_known)
    assert torch.equal(*drawn) and 0.2 < drawn[0].float().mean() < 0.4
    assert made._told(upcoming).is_target is upcoming.is_target and not upcoming.gap_known.any()
    always = network(NextEvent("item", query_time=1.0))
    assert always._told(upcoming).gap_known.all()


def test_the_time_is_learned_only_from_rows_that_are_not_told():
    histories = make()
    batch = HistoryTensors(histories).training(whole(histories))
    known = torch.tensor([True, False, True, False])
    made = network(NextEvent("item", query_time=0.5))
    made._told = lambda upcoming: replace(upcoming, gap_known=known)
    states = states_of(made, replace(batch, upcoming=replace(batch.upcoming, gap_known=known)))
    items = made._item_loss(states[batch.is_step], batch.upcoming.ids["item"][batch.is_step])
    untold = batch.is_step & ~known[:, None]
    expected = items + made.task.when_weight * made.when.loss(states[untold], batch.upcoming.gap_days[untold])
    assert torch.allclose(made(batch), expected, rtol=1e-5)


def test_a_model_that_is_always_told_has_no_time_to_predict():
    assert network(NextEvent("item", query_time=1.0)).when is None
    assert network(NextEvent("item", when=False)).when is None and network().when is not None


@pytest.mark.parametrize("query_time", [0.0, 0.5])
def test_one_event_has_the_vector_that_a_batch_gives_it(query_time):
    made, histories = network(NextEvent("item", query_time=query_time)), make()
    batch = HistoryTensors(histories).question(Windows(np.array([0]), np.array([6])))
    steps = made._steps(batch, batch.upcoming)[0]
    for i in range(6):
        fields = {name: int(values[i]) for name, values in histories.ids.items()}
        fields["amount"] = tuple(histories.numbers["amount"][i].tolist())
        gap = (histories.time_us[i] - histories.time_us[i - 1]) / DAY if i else 0.0
        vector = made.step_vector(fields, gap, int(histories.time_us[i]))
        assert vector.shape == (1, 8) and torch.allclose(vector[0], steps[i], atol=1e-6)


@given(st.one_of(st.sampled_from(_GAP_EDGES_DAYS), st.floats(0, 800)))
def test_a_gap_falls_into_the_same_interval_alone_and_in_a_batch(days):
    edges = torch.tensor(_GAP_EDGES_DAYS)
    assert _gap_number(days) == int(torch.bucketize(torch.tensor([days], dtype=torch.float32), edges))


def test_the_task_goes_through_json():
    task = NextEvent("app", also=("kind",), query_time=0.25, loss="gbce", negatives=9)
    assert NextEvent.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"query_time": 1.5}, "0 to 1"),
        ({"also": ("item",), "item": "item"}, "leave it out"),
        ({"loss": "softmx"}, "softmax"),
        ({"precision": "fp16"}, "bf16"),
    ],
)
def test_options_are_checked(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        NextEvent(**options)


@pytest.mark.parametrize("backbone", [GRU(hidden_size=8, bidirectional=True), Transformer(hidden_size=8, causal=False)])
def test_a_backbone_that_sees_the_future_is_refused(backbone):
    with pytest.raises(ConfigError, match="causal"):
        NextEventNetwork(Inputs({"item": 9}, {}, {}, {}), backbone, NextEvent("item"), np.ones(3))
