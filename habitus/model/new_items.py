"""New items with known content, usable at once: no event of them and no training is needed.

An item's embedding is foretold from its content by a ridge regression that the known items taught (Gantner et al.
2010, "Learning attribute-to-feature mappings for cold-start recommendations", section 4; differs in that embeddings
come from a sequence model). Content is words of texts (TF-IDF), and numbers as they are, such as the vectors that
`habitus embed` gives of titles. `update.py` starts from the same rows and goes on to train.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from habitus.errors import ConfigError, DataError, require
from habitus.fields.category import N_RESERVED, Vocabulary, as_category_strings
from habitus.next_prepared import with_new_items

if TYPE_CHECKING:
    from habitus.model.next_event import NextEventModel

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # of the ridge; one is chosen on items that were left out
_FOLDS = 5


def with_items(model: NextEventModel, content: pl.DataFrame, boost: float = 1.0) -> NextEventModel:
    """Return a model that also knows the items of `content` that it did not know; see `NextEventModel.with_items`."""
    if model.vocabulary_.spec.hash_buckets:
        raise ConfigError("The items are hashed, so that new ones have ids already; fit the model again to learn them.")
    if not boost > 0:
        raise ConfigError(f"boost={boost} must be above 0; 1 takes embeddings as they are foretold.")
    item = model.task.item
    known = model.vocabulary_.values
    own = set(known)
    described = Content.of(content, item)
    new = [value for value in described.place if value not in own]
    grown = copy.copy(model)
    grown.baselines_ = []  # they count events, and the new items have none
    if not new:
        return grown
    rows = boost * foretold(described, known, new, model.network_.item_table.detach())
    grown.encoder_ = with_new_items(model.encoder_, item, Vocabulary(model.vocabulary_.spec, new, [0] * len(new)))
    weights = {name: value.clone() for name, value in model.network_.state_dict().items()}
    network = grown._build_network()
    grow(weights, network.state_dict(), rows)
    network.load_state_dict(weights)
    grown.network_ = network.eval()
    grown.popularity_ = np.append(model.popularity_, np.zeros(len(new), model.popularity_.dtype))
    grown._saved_card, grown.hash_ = "", None
    return grown


class Content:
    """What is known of items: a text of marked words each, and numbers.

    Args:
        place: where each item stands.
        texts: one an item.
        numbers: float64 (n, F), columns of mean 0 and deviation 1.
    """

    def __init__(self, place: dict[str, int], texts: Sequence[str], numbers: np.ndarray) -> None:
        self.place, self.texts, self.numbers = place, texts, numbers

    @classmethod
    def of(cls, content: pl.DataFrame, item: str) -> Content:
        """Read a table of items; rows that say nothing are left out.

        Raises:
            DataError: if it has no column of items, or nothing beside it.

        >>> Content.of(pl.DataFrame({"item": ["a", "b"], "title": ["Up (2009)", None]}), "item").place
        {'a': 0}
        """
        if item not in content.columns or content.width < 2:
            raise DataError(f"content has the columns {content.columns}; give '{item}' and at least one more.")
        is_number = [name for name in content.columns if name != item and content[name].dtype.is_float()]
        texts = _marked([content[name] for name in content.columns if name not in (item, *is_number)], content.height)
        numbers = content.select(pl.col(is_number).fill_null(0.0).fill_nan(0.0)).to_numpy().reshape(content.height, -1)
        names = as_category_strings(content[item]).to_list()
        kept = [row for row, name in enumerate(names) if name is not None and (texts[row] or is_number)]
        place = {names[row]: at for at, row in enumerate(kept)}
        if len(place) < len(kept):
            raise DataError(f"content describes an item twice; give one row for each '{item}'.")
        numbers = numbers[kept].astype(np.float64)
        if len(numbers):
            scale = numbers.std(0)
            numbers = (numbers - numbers.mean(0)) / np.where(scale > 0, scale, 1)
        return cls(place, [texts[row] for row in kept], numbers)


def foretold(content: Content, known: Sequence[str], new: Sequence[str], table: Tensor) -> Tensor:
    """Return embeddings of new items from those of known ones, (new, D).

    Args:
        content: of both.
        known: items in the order of the table, from its fourth row.
        new: items that `content` has.
        table: (V, D), trained.

    Raises:
        DataError: if content describes none of the known items.
    """
    described = [number for number, value in enumerate(known) if value in content.place]
    if not described:
        raise DataError("content describes none of the items that the model knows; check that their ids are the same.")
    if not new:
        return table[:0]
    rows = [content.place[known[number]] for number in described]
    features = _features(content, rows)
    targets = table[N_RESERVED:].numpy()[described]
    mapping = _ridge(features[rows], targets)
    found = mapping.predict(features[[content.place[value] for value in new]])
    return torch.from_numpy(np.asarray(found, dtype=np.float32))


def grow(weights: dict[str, Tensor], template: dict[str, Tensor], rows: Tensor) -> None:
    """Append rows to every weight whose first dimension is the catalogue: embeddings, and biases at their mean."""
    for name, value in weights.items():
        n_more = len(template[name]) - len(value) if value.ndim else 0
        if not n_more:
            continue
        more = rows if value.ndim == 2 else value[N_RESERVED:].mean().expand(n_more)
        weights[name] = torch.cat([value, more.to(value.dtype)])


def _marked(columns: Sequence[pl.Series], n: int) -> list[str]:
    """Return one text an item: its columns in a row, each word marked with its column's number."""
    marked = [
        [
            " ".join(f"{number}:{word}" for word in text.lower().replace("|", " ").split())
            for text in column.cast(pl.String).fill_null("").to_list()
        ]
        for number, column in enumerate(columns)
    ]
    return [" ".join(parts).strip() for parts in zip(*marked, strict=True)] if marked else [""] * n


def _features(content: Content, rows: Sequence[int]) -> Any:
    """Return features of all items, sparse (n, F); the vocabulary is that of the known ones (`rows`)."""
    require("sklearn", "train")
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    blocks = []
    if any(content.texts[row] for row in rows):
        words = TfidfVectorizer(token_pattern=r"[^\s|,]+", sublinear_tf=True, lowercase=False)
        words.fit([content.texts[row] for row in rows])
        blocks.append(words.transform(content.texts))
    if content.numbers.shape[1]:
        blocks.append(csr_matrix(content.numbers / np.sqrt(content.numbers.shape[1])))
    return hstack(blocks, format="csr")


def _ridge(features: Any, targets: np.ndarray) -> Any:
    """Return a ridge regression whose strength is the best on items that were left out."""
    from sklearn.linear_model import Ridge

    if len(targets) < 2 * _FOLDS:
        return Ridge(alpha=_STRENGTHS[2]).fit(features, targets)
    fold = np.random.default_rng(0).permutation(len(targets)) % _FOLDS

    def error(strength: float) -> float:
        model = Ridge(alpha=strength).fit(features[fold > 0], targets[fold > 0])
        return float(np.square(model.predict(features[fold == 0]) - targets[fold == 0]).mean())

    return Ridge(alpha=min(_STRENGTHS, key=error)).fit(features, targets)
