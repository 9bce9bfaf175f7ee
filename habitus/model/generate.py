"""Continue histories: the next n events of each entity, drawn one after the other, each read before the next is drawn.

Every step answers for all entities at once. Fields that the task does not predict are missing in generated events, and
without a density of time (`when=False`) generated events stand at the time of the last real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from habitus.data.clock import DAY_US
from habitus.data.histories import Histories, latest
from habitus.data.next_batch import HistoryTensors
from habitus.errors import ConfigError
from habitus.fields.category import MISSING, N_RESERVED, Vocabulary
from habitus.next_prepared import read_histories
from habitus.tasks.ranking import Questions, answer_states
from habitus.tasks.rules import Past, Rule
from habitus.tasks.sampling import Sampling, choose

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel


def generate(
    model: NextEventModel, events: Any, n: int, sampling: Sampling | None = None, rules: Sequence[Rule] = ()
) -> pl.DataFrame:
    """Return the next n events of every entity; see `NextEventModel.generate`."""
    if n < 1:
        raise ConfigError(f"n={n} generates nothing; use 1 or more.")
    if model.task.query_time == 1:
        raise ConfigError("This model must be told when events happen, so that it cannot say what comes when.")
    sampling = sampling or Sampling()
    vocabulary = model.vocabulary_
    bound = [rule.bind(vocabulary) for rule in rules]
    _, rows, histories = read_histories(model.encoder_, events, model.data)
    item = model.task.item
    past = Past([histories.ids[item][a:b] for a, b in zip(histories.offsets, histories.offsets[1:], strict=False)],
                vocabulary.size)  # fmt: skip
    room = _with_room(_recent(histories, model.data.max_length), n)
    tensors, generator = HistoryTensors(room), sampling.generator()
    time_us, steps = room.time_us[room.offsets[1:] - n - 1], []
    for step in range(n):
        stop = room.offsets[1:] - n + step
        asked = Questions(
            latest(room.offsets[:-1], stop, model.data.max_length), room.offsets[:-1], np.arange(len(room))
        )
        ids, days, others = _next(model, tensors, asked, past, sampling, bound, generator)
        past.add(ids)
        time_us = time_us + np.minimum(days * DAY_US, 2.0**60).astype(np.int64)
        steps.append(({item: ids, **others}, time_us))
        tensors.write(stop, {item: ids, **others}, time_us)
    return _frame(model, rows.entities, steps)


@torch.no_grad()
def _next(
    model: NextEventModel,
    tensors: HistoryTensors,
    asked: Questions,
    past: Past,
    sampling: Sampling,
    rules: Sequence[Rule],
    generator: torch.Generator | None,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return ids, days until them, and other fields of the next event of every entity."""
    network = model.network_
    states = answer_states(network, tensors, asked)
    ids = choose(network.item_scores(states), past, sampling, rules, generator).numpy()
    days = np.zeros(len(ids))
    if network.when is not None:
        drawn = network.when.median(states) if sampling.is_greedy else network.when.sample(states, generator)
        days = drawn.double().numpy()
    others = {}
    for name in model.task.also:
        answer = network.field_answer(name, states)
        if isinstance(model.encoder_.fields[name], Vocabulary):
            others[name] = answer[:, N_RESERVED:].argmax(-1).numpy() + N_RESERVED
        else:
            others[name] = torch.nn.functional.pad(answer, (0, 1)).numpy()  # the value, and that it is not missing
    return ids, days, others


def _recent(histories: Histories, max_length: int) -> Histories:
    """Return the latest events of each history: what answers read, and one more for the gap before it."""
    begin, stop = histories.offsets[:-1], histories.offsets[1:]
    return histories.cut(np.maximum(begin, stop - max_length - 1), stop)


def _with_room(histories: Histories, n: int) -> Histories:
    """Return the histories with n empty places after each."""
    lengths = histories.lengths
    offsets = np.concatenate([[0], np.cumsum(lengths + n)])
    place = np.arange(lengths.sum()) + np.repeat(offsets[:-1] - histories.offsets[:-1], lengths)

    def spread(values: np.ndarray, empty: Any) -> np.ndarray:
        wide = np.empty((offsets[-1], *values.shape[1:]), dtype=values.dtype)
        wide[:] = empty
        wide[place] = values
        return wide

    return Histories(
        offsets,
        {name: spread(ids, MISSING) for name, ids in histories.ids.items()},
        {name: spread(values, [0.0, 1.0]) for name, values in histories.numbers.items()},
        spread(histories.time_us, 0),
    )


def _frame(
    model: NextEventModel, entities: pl.Series, steps: Sequence[tuple[dict[str, np.ndarray], np.ndarray]]
) -> pl.DataFrame:
    """Return one row a generated event; steps hold the fields and the time of every entity's event."""
    n, schema = len(steps), model.encoder_.schema

    def by_entity(values: list[np.ndarray]) -> np.ndarray:
        return np.stack(values, axis=1).reshape(len(entities) * n, *values[0].shape[1:])

    columns = [
        entities.gather(np.repeat(np.arange(len(entities)), n)),
        pl.Series("step", np.tile(np.arange(1, n + 1), len(entities))),
        model.item_column(by_entity([fields[model.task.item] for fields, _ in steps])),
    ]
    if model.network_.when is not None:
        moments = pl.Series(schema.time, by_entity([time_us for _, time_us in steps]))
        columns.append(moments.cast(pl.Datetime("us", "UTC")))
    for name in model.task.also:
        fitted: Any = model.encoder_.fields[name]
        values = by_entity([fields[name] for fields, _ in steps])
        columns.append(pl.Series(name, fitted.decode(values if values.ndim == 1 else values[:, 0])))
    return pl.DataFrame(columns)
