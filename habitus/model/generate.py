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
from habitus.fields.category import MISSING, N_RESERVED
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
    grown, generator = _with_room(histories, n), sampling.generator()
    for step in range(n):
        stop = grown.offsets[1:] - n + step
        ids, days, others = _next(model, grown, stop, past, sampling, bound, generator)
        past.add(ids)
        grown = _with_event(grown, stop, item, ids, days, others)
    return _frame(model, rows.entities, grown, n)


@torch.no_grad()
def _next(
    model: NextEventModel,
    histories: Histories,
    stop: np.ndarray,
    past: Past,
    sampling: Sampling,
    rules: Sequence[Rule],
    generator: torch.Generator | None,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return ids, days until them, and other fields of the next event of every entity."""
    begin, network = histories.offsets[:-1], model.network_
    asked = Questions(latest(begin, stop, model.data.max_length), begin, np.arange(len(begin)))
    states = answer_states(network, HistoryTensors(histories), asked)
    ids = choose(network.item_scores(states), past, sampling, rules, generator).numpy()
    days = np.zeros(len(ids))
    if network.when is not None:
        drawn = network.when.median(states) if sampling.is_greedy else network.when.sample(states, generator)
        days = drawn.double().numpy()
    others = {}
    for name in model.task.also:
        answer = network.field_answer(name, states)
        if name in histories.ids:
            others[name] = answer[:, N_RESERVED:].argmax(-1).numpy() + N_RESERVED
        else:
            others[name] = torch.nn.functional.pad(answer, (0, 1)).numpy()  # the value, and that it is not missing
    return ids, days, others


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


def _with_event(
    histories: Histories,
    stop: np.ndarray,
    item: str,
    ids: np.ndarray,
    days: np.ndarray,
    others: dict[str, np.ndarray],
) -> Histories:
    """Return the histories with one more event each, at the positions `stop`."""
    filled = {name: values.copy() for name, values in histories.ids.items()}
    numbers = {name: values.copy() for name, values in histories.numbers.items()}
    filled[item][stop] = ids
    for name, values in others.items():
        (filled if name in filled else numbers)[name][stop] = values
    time_us = histories.time_us.copy()
    before = time_us[np.maximum(stop - 1, 0)]
    time_us[stop] = before + np.minimum(days * DAY_US, 2.0**60).astype(np.int64)
    return Histories(histories.offsets, filled, numbers, time_us)


def _frame(model: NextEventModel, entities: pl.Series, histories: Histories, n: int) -> pl.DataFrame:
    place = (histories.offsets[1:, None] - n + np.arange(n)).ravel()
    schema, encoder = model.encoder_.schema, model.encoder_
    columns = [
        entities.gather(np.repeat(np.arange(len(entities)), n)),
        pl.Series("step", np.tile(np.arange(1, n + 1), len(entities))),
        model.item_column(histories.ids[model.task.item][place]),
    ]
    if model.network_.when is not None:
        columns.append(pl.Series(schema.time, histories.time_us[place]).cast(pl.Datetime("us", "UTC")))
    for name in model.task.also:
        fitted: Any = encoder.fields[name]
        values = histories.ids[name][place] if name in histories.ids else histories.numbers[name][place, 0]
        columns.append(pl.Series(name, fitted.decode(values)))
    return pl.DataFrame(columns)
