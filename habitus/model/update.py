"""Update a next-event model: new items get rows in the vocabulary, and training goes on without losing the old.

A new item starts where its content says (`new_items.py`), or without content at the mean of the items that stand beside
it in the new log. Then the whole network is trained for a share of the epochs on the whole log, old events with the
new, which is what keeps it from forgetting.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from habitus.data.histories import Histories
from habitus.errors import ConfigError
from habitus.fields.category import N_RESERVED, Vocabulary
from habitus.model.new_items import Content, foretold, grow
from habitus.next_prepared import PreparedNext, prepare_next
from habitus.training import Callback

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel

_BESIDE = 5  # events on each side that say where a new item without content belongs


def update(
    model: NextEventModel,
    events: Any,
    *,
    share: float,
    content: pl.DataFrame | None,
    callbacks: Sequence[Callback],
) -> NextEventModel:
    """Bring a model up to a longer log; see `NextEventModel.update`."""
    if model.vocabulary_.spec.hash_buckets:
        raise ConfigError("The items are hashed, so that new ones have ids already; fit the model again to learn them.")
    if not 0 < share <= 1:
        raise ConfigError(f"share={share} is a share of the epochs of the first training: above 0, at most 1.")
    prepared = prepare_next(model.task, events, model.data, model.split, known=model.encoder_)
    grown = copy.copy(model)  # so that a training that fails leaves the model as it was
    n_known, n_new = model.vocabulary_.size, prepared.encoder.sizes[model.task.item]
    weights = {name: value.clone() for name, value in model.network_.state_dict().items()}
    old_table = model.network_.item_table.detach()
    rows = _first_rows(model, prepared, old_table, n_known, content)
    grown.encoder_ = prepared.encoder
    network = grown._build_network()
    grow(weights, network.state_dict(), rows)
    network.load_state_dict(weights)
    n_epochs = max(1, round(share * model.training.epochs))
    training = replace(model.training, epochs=n_epochs, patience=n_epochs)
    assert n_new == len(network.item_table), (n_new, network.item_table.shape)
    grown.train_on(prepared, network, training, callbacks=callbacks)
    vars(model).update(vars(grown))
    return model


def _first_rows(
    model: NextEventModel, prepared: PreparedNext, table: Tensor, n_known: int, content: pl.DataFrame | None
) -> Tensor:
    """Return the first embeddings of new items, (new, D)."""
    vocabulary = prepared.encoder.fields[model.task.item]
    assert isinstance(vocabulary, Vocabulary)
    new = vocabulary.values[n_known - N_RESERVED :]
    if not new:
        return table[:0]
    beside = _from_neighbours(prepared, table, n_known, len(new))
    if content is None:
        return beside
    described = Content.of(content, model.task.item)
    has_content = torch.tensor([value in described.place for value in new])
    known, told = vocabulary.values[: n_known - N_RESERVED], [value for value in new if value in described.place]
    rows = beside.clone()
    rows[has_content] = foretold(described, known, told, table)
    return rows


def _from_neighbours(prepared: PreparedNext, table: Tensor, n_known: int, n_new: int) -> Tensor:
    """Return the mean embedding of known items within a few events of each new item, in the training part."""
    histories, size = prepared.histories, table.shape[1]
    ids = histories.ids[prepared.item].astype(np.int64)
    entity, trains = _training_events(histories, prepared.parts.train_stop)
    total, count = torch.zeros(n_new, size), torch.zeros(n_new)
    for shift in [*range(-_BESIDE, 0), *range(1, _BESIDE + 1)]:
        here = np.arange(max(0, -shift), len(ids) - max(0, shift))
        there = here + shift
        near = (ids[here] >= n_known) & (ids[there] < n_known) & (ids[there] >= N_RESERVED)
        near &= (entity[here] == entity[there]) & trains[here] & trains[there]
        which = torch.from_numpy(ids[here[near]] - n_known)
        total.index_add_(0, which, table[torch.from_numpy(ids[there[near]])])
        count.index_add_(0, which, torch.ones(len(which)))
    overall = table[N_RESERVED:].mean(0)
    return torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], overall)


def _training_events(histories: Histories, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    entity = np.repeat(np.arange(len(histories)), histories.lengths)
    return entity, np.arange(len(entity)) < stop[entity]
