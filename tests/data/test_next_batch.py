"""Batches of windows: inputs, targets and gaps at the right places, and nothing of what comes later."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from habitus.data.batch import Batch, Upcoming
from habitus.data.histories import Histories, Windows
from habitus.data.next_batch import HistoryTensors
from habitus.fields.category import MISSING

DAY = 86_400_000_000


def make(seed=0, lengths=(5, 3, 1, 6)):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    times = [np.sort(rng.integers(19_000 * DAY, 19_060 * DAY, n)) for n in lengths]
    return Histories(
        offsets,
        {
            "item": rng.integers(3, 9, offsets[-1]).astype(np.int32),
            "kind": rng.integers(1, 5, offsets[-1]).astype(np.int32),
        },
        {"amount": rng.normal(size=(offsets[-1], 2)).astype(np.float32)},
        np.concatenate(times),
    )


def everything(batch, prefix=""):
    """All tensors of a batch by name."""
    found = {}
    for item in fields(batch):
        value = getattr(batch, item.name)
        if isinstance(value, Upcoming):
            found |= everything(value, "upcoming ")
        elif isinstance(value, dict):
            found |= {f"{prefix}{item.name} {name}": tensor for name, tensor in value.items()}
        elif isinstance(value, torch.Tensor):
            found[prefix + item.name] = value
    return found


def test_targets_are_the_inputs_shifted_by_one():
    histories = make()
    windows = Windows(np.array([0, 1, 9]), np.array([5, 4, 12]))  # two of entity 0, one of entity 3
    batch = HistoryTensors(histories).training(windows)
    assert isinstance(batch, Batch) and batch.lengths.tolist() == [4, 2, 2] and batch.has_padding
    for row, (start, stop) in enumerate(zip(windows.start, windows.stop, strict=True)):
        n = stop - start - 1
        for name, values in histories.ids.items():
            assert batch.ids[name][row].tolist() == values[start : stop - 1].tolist() + [0] * (4 - n)
            assert batch.upcoming.ids[name][row].tolist() == values[start + 1 : stop].tolist() + [0] * (4 - n)
        assert torch.equal(
            batch.upcoming.numbers["amount"][row, :n], torch.from_numpy(histories.numbers["amount"][start + 1 : stop])
        )
        gaps = np.diff(histories.time_us[start:stop]) / DAY
        np.testing.assert_allclose(batch.upcoming.gap_days[row, :n], gaps, rtol=1e-6)
        np.testing.assert_allclose(batch.gap_days[row, 1:n], gaps[:-1], rtol=1e-6)
        assert batch.upcoming.is_target[row].tolist() == [True] * n + [False] * (4 - n)
    assert not batch.upcoming.gap_known.any()
    assert batch.gap_days[0, 0] == 0 and batch.gap_days[1, 0] > 0  # a window in the middle knows the gap before it


def test_hour_weekday_and_age_are_those_of_the_calendar():
    monday = 1_704_067_200_000_000  # 2024-01-01 00:00 UTC
    times = np.array([monday - 1, monday, monday + 49 * 3_600_000_000])
    histories = Histories(np.array([0, 3]), {}, {}, times)
    batch = HistoryTensors(histories).question(Windows(np.array([0]), np.array([3])))
    assert batch.hour.tolist() == [[23, 0, 1]] and batch.weekday.tolist() == [[6, 0, 2]]
    np.testing.assert_allclose(batch.age_days[0], [49 / 24, 49 / 24, 0])
    before_1970 = Histories(np.array([0, 1]), {}, {}, np.array([-3_600_000_000]))
    assert HistoryTensors(before_1970).question(Windows(np.array([0]), np.array([1]))).hour.tolist() == [[23]]


def test_a_question_reads_its_window_and_is_told_the_time_only_on_request():
    histories, windows = make(), Windows(np.array([0, 5]), np.array([4, 6]))
    tensors = HistoryTensors(histories)
    untold, at_us = tensors.question(windows), histories.time_us[windows.stop - 1] + 3 * DAY
    told = tensors.question(windows, at_us)
    assert told.upcoming.gap_known.all() and not untold.upcoming.gap_known.any()
    assert told.upcoming.gap_days[0, 3] == told.upcoming.gap_days[1, 0] == 3.0
    assert untold.upcoming.gap_days[0, 3] == 0.0 and not untold.upcoming.is_target.any() and untold.upcoming.ids == {}
    np.testing.assert_allclose(told.upcoming.gap_days[0, :3], np.diff(histories.time_us[:4]) / DAY, rtol=1e-6)


def test_a_told_question_and_a_training_window_read_the_same():
    histories = make()
    tensors = HistoryTensors(histories)
    asked = tensors.question(Windows(np.array([9]), np.array([14])), histories.time_us[[14]])
    trained = tensors.training(Windows(np.array([9]), np.array([15])))
    for name in ("gap_days", "hour", "weekday"):
        assert torch.equal(getattr(asked, name), getattr(trained, name))
    assert torch.equal(asked.upcoming.gap_days, trained.upcoming.gap_days)
    assert torch.equal(asked.ids["item"], trained.ids["item"])
    ages, elapsed = asked.age_days, trained.age_days  # from the last and from the first event
    assert torch.allclose(ages - ages[:, :1], elapsed, atol=1e-5) and elapsed[0, 0] == 0 == ages[0, -1]


def test_a_window_without_events_reads_the_stand_in():
    batch = HistoryTensors(make()).question(Windows(np.array([8]), np.array([8])))
    assert batch.lengths.tolist() == [1] and batch.ids["item"].tolist() == [[MISSING]]
    assert batch.numbers["amount"].tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize("position", [2, 3, 4])
def test_no_step_depends_on_anything_later(position):
    """Change every event from a position on, times included: what earlier steps read changes by exactly nothing."""
    histories = make()
    first = 9 + position  # of entity 3
    is_later = np.arange(15) >= first
    later = replace(
        histories,
        ids={name: np.where(is_later, 8, ids).astype(np.int32) for name, ids in histories.ids.items()},
        numbers={"amount": np.where(is_later[:, None], 9.0, histories.numbers["amount"]).astype(np.float32)},
        time_us=np.where(is_later, histories.time_us + 4000 * DAY + np.arange(15) * DAY, histories.time_us),
    )
    windows = Windows(np.array([9, 0]), np.array([15, 4]))
    old, new = (everything(HistoryTensors(log).training(windows)) for log in (histories, later))
    for name in old:
        if name.startswith(("lengths", "is_step", "upcoming is_target", "upcoming gap_known")):
            assert torch.equal(old[name], new[name])
        elif name.startswith("upcoming"):  # the answers of the steps before: the last of them is the changed event
            assert torch.equal(old[name][0, : position - 1], new[name][0, : position - 1]), name
            assert torch.equal(old[name][1], new[name][1]), name
        else:
            assert torch.equal(old[name][0, :position], new[name][0, :position]), name
            assert torch.equal(old[name][1], new[name][1]), name
    question = Windows(np.array([9]), np.array([first]))
    at_us = histories.time_us[[first]]
    for at in (None, at_us):
        old, new = (everything(HistoryTensors(log).question(question, at)) for log in (histories, later))
        assert all(torch.equal(old[name], new[name]) for name in old)


def test_company_changes_nothing_but_the_padding():
    tensors = HistoryTensors(make())
    together = everything(tensors.training(Windows(np.array([0, 5, 9]), np.array([5, 8, 15]))))
    alone = everything(tensors.training(Windows(np.array([5]), np.array([8]))))
    for name, values in alone.items():
        mine = together[name][1] if values.ndim == 1 else together[name][1, : values.shape[1]]
        assert torch.equal(mine, values[0]), name
    assert (together["ids item"][1, 2:] == 0).all() and not together["is_step"][1, 2:].any()


def test_an_event_that_is_written_reads_like_one_that_was_there():
    whole = make()
    rooms, last = make(), whole.offsets[1:] - 1
    for values in rooms.ids.values():
        values[last] = MISSING
    rooms.numbers["amount"][last] = [0.0, 1.0]
    rooms.time_us[last] = 0
    tensors, at = HistoryTensors(rooms), last[whole.lengths > 1]
    values = {name: found[at] for name, found in {**whole.ids, **whole.numbers}.items()}
    tensors.write(at, values, whole.time_us[at])
    windows = Windows(whole.offsets[:-1][whole.lengths > 1], at + 1)
    written, read = everything(tensors.question(windows)), everything(HistoryTensors(whole).question(windows))
    assert all(torch.equal(written[name], read[name]) for name in read)
    assert rooms.time_us[at].max() == 0  # what was given stays as it is
