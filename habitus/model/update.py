"""Update a next-event model: new items get rows in the vocabulary, and training goes on without losing the old.

A new item starts where its content says (a ridge regression from words of its texts and categories to the embeddings
of known items, in the manner of Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start
recommendations", section 4; differs in that embeddings come from a sequence model), or without content at the mean of
the items that stand beside it in the new log. Then the whole network is trained for a share of the epochs on the whole
log, old events with the new, which is what keeps it from forgetting.
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
from habitus.errors import ConfigError, DataError, require
from habitus.fields.category import N_RESERVED, Vocabulary, as_category_strings
from habitus.next_prepared import PreparedNext, prepare_next
from habitus.training import Callback

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel

_RIDGE = 3.0
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
    _grow(weights, network.state_dict(), rows)
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
    found, has_content = _from_content(content, model.task.item, vocabulary.values[: n_known - N_RESERVED], new, table)
    return torch.where(has_content[:, None], found, beside)


def _from_content(
    content: pl.DataFrame, item: str, known: Sequence[str], new: Sequence[str], table: Tensor
) -> tuple[Tensor, Tensor]:
    """Map words of the items' texts and categories to embeddings; also say which new items have any."""
    require("sklearn", "train")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    if item not in content.columns or content.width < 2:
        raise DataError(f"content has the columns {content.columns}; give '{item}' and at least one more.")
    texts = _texts(content, item)
    words = TfidfVectorizer(token_pattern=r"[^\s|,]+", sublinear_tf=True)
    described = [number for number, value in enumerate(known) if value in texts]
    if not described:
        raise DataError("content describes none of the items that the model knows; check that their ids are the same.")
    features = words.fit_transform([texts[known[number]] for number in described])
    targets = table[N_RESERVED:].numpy()[described]
    mapping = Ridge(alpha=_RIDGE).fit(features, targets)
    found = mapping.predict(words.transform([texts.get(value, "") for value in new]))
    return torch.from_numpy(found.astype(np.float32)), torch.tensor([value in texts for value in new])


def _texts(content: pl.DataFrame, item: str) -> dict[str, str]:
    """Return one text an item, if it has any: its columns in a row, each word marked with its column's number."""
    columns = [content[name].cast(pl.String).fill_null("") for name in content.columns if name != item]
    marked = [
        [" ".join(f"{number}:{word}" for word in text.replace("|", " ").split()) for text in column.to_list()]
        for number, column in enumerate(columns)
    ]
    texts = [" ".join(parts).strip() for parts in zip(*marked, strict=True)]
    named = zip(as_category_strings(content[item]).to_list(), texts, strict=True)
    return {value: text for value, text in named if text}


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


def _grow(weights: dict[str, Tensor], template: dict[str, Tensor], rows: Tensor) -> None:
    """Append rows to every weight whose first dimension is the catalogue: embeddings, and biases at their mean."""
    for name, value in weights.items():
        n_more = len(template[name]) - len(value) if value.ndim else 0
        if not n_more:
            continue
        more = rows if value.ndim == 2 else value[N_RESERVED:].mean().expand(n_more)
        weights[name] = torch.cat([value, more.to(value.dtype)])
