"""A log with the vectors of a text column beside it: what a frozen encoder, pretrained or not, says of texts of events.

    log with `title`  --distinct titles, each embedded once-->  log with title_vector_0, title_vector_1, ...

The new columns are numbers, which every model and every rival reads; texts that training never saw have them too.
A scoring log is to be given its columns by the same model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from habitus.data.sources import ROW, open_source, readable
from habitus.errors import ConfigError, DataError, did_you_mean
from habitus.fields.category import as_category_strings

if TYPE_CHECKING:
    from habitus.model.embed import EmbedModel

_MOST_KEPT = 1_000_000  # texts whose vectors a model keeps in memory


def with_vectors(model: EmbedModel, events: Any, column: str, size: int) -> pl.DataFrame:
    """Return a log in memory with `size` columns of numbers; see `EmbedModel.with_vectors`."""
    if model.data.text is None:
        raise ConfigError("This model embeds histories; with_vectors takes one of texts (data=Data(text=...)).")
    opened = open_source(events)
    if column not in opened.columns:
        raise DataError(f"{opened.label} has no column '{column}'; {did_you_mean(column, opened.columns)}")
    names = [f"{column}_vector_{number}" for number in range(size)]
    for name in names:
        if name in opened.columns:
            raise DataError(f"{opened.label} has a column '{name}' already; take it out, or rename it.")
    with readable(opened.label):
        frame = opened.frame.collect(engine="streaming").sort(ROW).drop(ROW)
    texts = as_category_strings(frame[column]).fill_null("")
    vectors = _kept(model, texts.unique(maintain_order=True), size)
    place = pl.DataFrame({"text": list(vectors)}, schema={"text": pl.String}).with_row_index("_place")
    found = texts.alias("text").to_frame().join(place, on="text", how="left", maintain_order="left")["_place"]
    table = np.stack(list(vectors.values()))[found.to_numpy().astype(np.int64)]
    return frame.hstack([pl.Series(name, table[:, number]) for number, name in enumerate(names)])


def vector_columns(vectors: np.ndarray) -> pl.DataFrame:
    """Return one column a dimension, `vector_0` and so on.

    >>> vector_columns(np.array([[0.6, 0.8]])).columns
    ['vector_0', 'vector_1']
    """
    return pl.DataFrame({f"vector_{number}": vectors[:, number] for number in range(vectors.shape[1])})


def _kept(model: EmbedModel, texts: pl.Series, size: int) -> dict[str, np.ndarray]:
    """Return the vector of each text; those of earlier calls are remembered by the model."""
    known = model.__dict__.setdefault("_vectors_of_texts", {}).setdefault(size, {})
    new = texts.filter(~texts.is_in(list(known))) if known else texts
    if len(new):
        if len(known) + len(new) > _MOST_KEPT:
            known.clear()
            new = texts
        known |= dict(zip(new.to_list(), model.embed(new, size=size), strict=True))
    return {text: known[text] for text in texts.to_list()}
