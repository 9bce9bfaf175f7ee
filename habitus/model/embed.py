"""`EmbedModel`: a vector for a text or a history; see `tasks/embed.py` for what is learned and judged.

table of texts (or a log) -> units -> train -> rivals -> judge
embed(texts) -> vectors; `model/text_search.py` searches among them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch

from habitus.backbones.pretrained.frozen import know_texts
from habitus.baselines.embed import EMBED_RIVALS
from habitus.config import check_taken_rate
from habitus.data.embed.read import EmbedTable, encode_column, read_to_judge, read_to_learn
from habitus.data.embed.rows import EmbedEncoder, EmbedRows
from habitus.data.encode import EncodedSequences
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.data.text.table import TEXT_ID, read_texts
from habitus.errors import ConfigError, DataError, did_you_mean
from habitus.fields.schema import Schema
from habitus.model.attention_map import attention_panel
from habitus.model.embed_histories import prepare_histories, read_entities, read_units
from habitus.model.embed_panels import embed_panels
from habitus.model.labelled_text import data_for
from habitus.model.task_model import TaskModel
from habitus.model.text_vectors import vector_columns, with_vectors
from habitus.prepared_task import PreparedTask
from habitus.tasks.embed import Embed
from habitus.tasks.embed_network import EmbedNetwork, embedded
from habitus.tasks.network import Inputs
from habitus.tasks.pretrain import Pretrain
from habitus.training import Study, TrainingResult
from habitus.training.embed import EmbedStudy, HistoryStudy, answered

_MOST_WORDS = 16  # of a sentence whose attention the report shows


@dataclass(frozen=True)
class EmbedOptions:
    """What the network of an `Embed` reads besides the fields, and its rivals.

    Args:
        use_time: read age, gap, hour and weekday of events; None: of histories yes, of texts there are none.
        value_dropout: share of category values (of texts: tokens) read as UNKNOWN in training.
        slices: of histories: slices drawn from each in an epoch.
        shortest: of histories: fewest events in a slice.
        baselines: rivals that are fitted beside the model.
        taken_rate: learning rate of what was taken over from a pretrained bundle, as a share of the training's; 0 holds
            it still.
    """

    use_time: bool | None = None
    value_dropout: float = 0.0
    slices: int = 4
    shortest: int = 5
    baselines: tuple[str, ...] = tuple(EMBED_RIVALS)
    taken_rate: float = 1.0

    def __post_init__(self) -> None:
        check_taken_rate(self.taken_rate)
        if not 0 <= self.value_dropout < 1:
            raise ConfigError(f"value_dropout={self.value_dropout} is a share: 0 or more and below 1.")
        for name in self.baselines:
            if name not in EMBED_RIVALS:
                raise ConfigError(f"There is no baseline '{name}'; {did_you_mean(name, EMBED_RIVALS)}")


class EmbedModel(TaskModel, tasks=(Embed,)):
    """A `SequenceModel` that gives vectors; see there for the arguments.

    >>> from habitus.model.base import SequenceModel
    >>> SequenceModel(Embed("score"), data=Data(text="one,two")).sources
    ('examples',)
    """

    split_kind = Split
    options_kind = EmbedOptions
    data_kind = Data
    encoder_kind = EmbedEncoder
    rival_kinds = EMBED_RIVALS
    reads_text = True
    takes_start = True

    task: Embed
    data: Data
    split: Split
    options: EmbedOptions
    network_: EmbedNetwork
    encoder_: EmbedEncoder

    def __init__(self, task: Embed, backbone: Any | None = None, *, data: Data | None = None, **parts: Any) -> None:
        data, self._chose_backbone = data or Data(), backbone is not None
        if backbone is None:
            backbone = self.backbone_from({"name": "transformer", **self.backbone_defaults(task, "transformer", data)})
        super().__init__(task, backbone, data=data_for(backbone, data), **parts)

    @classmethod
    def backbone_defaults(cls, task: Embed, name: str, data: Any = None) -> Mapping[str, Any]:
        """Return that states are pooled by their mean, and that texts are read in both directions."""
        if name == "pretrained":
            return {}
        if data is None or not data.reads_text:
            return {"pooling": "mean"}
        ways = {"causal": False, "time_aware": False} if name == "transformer" else {"bidirectional": True}
        return {"pooling": "mean", **ways}

    @property
    def sources(self) -> tuple[str, ...]:  # type: ignore[override]
        """What `fit` and `evaluate` read: a table of texts, or a log."""
        return ("examples",) if self.data.text is not None else ("events",)

    # -- reading

    def prepare(self, source: Any) -> PreparedTask:
        """Read, divide, and learn tokens or fields of the training part.

        Args:
            source: a table of texts where `data.text` names their columns, else a log.
        """
        if self.data.text is None:
            if self.task.target:
                raise ConfigError(
                    f"target='{self.task.target}' means nothing for a log, whose histories are told apart by "
                    "themselves; leave it out, or name columns of texts with text= (--text)."
                )
            self.task.refuse_kind("events")
            known = None if self._start is None else self._start.encoder
            return prepare_histories(source, self.data, self.split, known)
        found = read_to_learn(source, self.task.target, self.data, self.split)
        self.task.refuse_kind(found.rows.kind)
        return self._prepared(found)

    def read(self, source: Any) -> PreparedTask:
        """Read a table of texts, or a log, for a fitted model."""
        if self.data.text is not None:
            return self._prepared(read_to_judge(self.encoder_, source, self.task.target, self.data))
        return read_units(self.encoder_, source, self.data)

    def fit_prepared(self, prepared: PreparedTask, **rest: Any) -> EmbedModel:
        """Train on what `prepare` made; the task takes over what the data says."""
        self.task = replace(self.task, kind=prepared.encoder.kind)
        super().fit_prepared(prepared, **rest)
        return self

    # -- answering

    def embed(self, what: Any, *, size: int | None = None) -> np.ndarray:
        """Return vectors of length one, float32 (n, D).

        Args:
            what: of a model of texts: a list or column of texts; of a model of histories: a log, whose entities come
                in the order of `embed_table`.
            size: cut the vectors to this width; good for the `sizes` that were learned.
        """
        self._require_fitted()
        if self.data.text is None:
            return self.embed_table(what, size=size)[1]
        if isinstance(what, str):
            raise ConfigError("embed(texts) takes a list of texts; for one text give [text].")
        texts = what if isinstance(what, pl.Series) else pl.Series([*what], dtype=pl.String)
        if texts.dtype != pl.String:
            raise DataError(f"embed(texts) takes texts, and these are {texts.dtype}.")
        return self._vectors(self._encode(texts)[0], size)

    def embed_table(
        self, source: Any, column: str | None = None, *, size: int | None = None
    ) -> tuple[pl.DataFrame, np.ndarray]:
        """Return which row or entity each vector is of, and the vectors, float32 (n, D).

        Args:
            source: a table of texts, or a log.
            column: of the table, with the texts; None takes the first one of the fit.
            size: cut the vectors to this width.
        """
        self._require_fitted()
        if self.data.text is None:
            keys, encoded, self.notes_, self.rejects_ = read_entities(self.encoder_, source, self.data)
            return keys, self._vectors(encoded, size)
        found = read_texts(source, replace(self.data, text=column or self.data.texts[0]), schema=self._schema)
        encoded, notes = self._encode(found.texts.to_series())
        self.notes_, self.rejects_ = (*found.examples.notes, *notes), found.examples.rejects
        return found.keys, self._vectors(encoded, size)

    def with_vectors(self, events: Any, column: str, *, size: int = 32) -> pl.DataFrame:
        """Return a log with the vectors of one of its text columns beside it, `title_vector_0` and so on.

        Args:
            events: a log, read into memory.
            column: its texts; each distinct one is embedded once, and remembered for the next call.
            size: numbers of each vector that are kept, the first ones.

        The new columns are plain numbers: any model reads them as fields of its events. Drop the text itself
        (`Data(drop=(column,))`), or read its words as well.
        """
        self._require_fitted()
        return with_vectors(self, events, column, size)

    def predict(self, events: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
        """Answer a table of texts, or a log.

        Returns:
            Of two columns of texts: `row` and `similarity`, the cosine from -1 to 1. Else `row` or the entity and the
            vector, `vector_0` and so on.
        """
        self._require_fitted()
        if len(self.data.texts) != 2:
            keys, vectors = self.embed_table(events)
            return keys.hstack(vector_columns(vectors))
        found = read_texts(events, self.data, schema=self._schema)
        encoded = [self._encode(column) for column in found.texts.get_columns()]
        self.notes_ = tuple(dict.fromkeys([*found.examples.notes, *encoded[0][1], *encoded[1][1]]))
        self.rejects_ = found.examples.rejects
        left, right = (self._vectors(rows, None) for rows, _ in encoded)
        return found.keys.with_columns(pl.Series("similarity", (left * right).sum(1)))

    def truth(self, rows: EmbedRows) -> EmbedRows:
        """Return the units themselves: they carry what is true."""
        return rows

    def answer(self, rows: EmbedRows) -> np.ndarray:
        """Return cosines or ranks, (n,)."""
        return answered(self.network_, rows)

    def panels(self, rows: EmbedRows, truth: EmbedRows, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what the report shows: units right and wrong, and the vectors in two dimensions."""
        found = embed_panels(self.encoder_, rows, answers, embedded(self.network_, rows.left))
        texts = rows.texts.to_series(0).fill_null("").to_list() if rows.texts.width else []
        shown = next((text for text in texts if 2 < len(text.split()) <= _MOST_WORDS), None)
        attention = None if shown is None else attention_panel(self, shown)
        return found if attention is None else [*found, attention]

    # -- inside

    def _prepared(self, found: EmbedTable) -> PreparedTask:
        rows = found.rows
        facts = {
            "units": rows.kind,
            "n": len(rows),
            "n_tokens": int(rows.left.offsets[-1]) + (0 if rows.right is rows.left else int(rows.right.offsets[-1])),
            "sizes": dict(found.encoder.inner.sizes),
            "split": self.split.sentence(),
        }
        return PreparedTask(
            found.source, found.encoder, rows, found.part, found.keys, facts, (), found.notes, found.rejects
        )

    @property
    def _schema(self) -> Schema:
        return Schema(entity=self.data.entity or TEXT_ID, time="timestamp", cutoff=self.data.cutoff)

    def _encode(self, texts: pl.Series) -> tuple[EncodedSequences, list[str]]:
        return encode_column(self.encoder_.inner, texts.fill_null(""), self.data.max_length)

    def _vectors(self, encoded: EncodedSequences, size: int | None) -> np.ndarray:
        if size is not None and not 1 <= size <= self.network_.size:
            raise ConfigError(f"size={size} is not within 1 and {self.network_.size}, the width of the vectors.")
        return embedded(self.network_, encoded, size)

    def _build_network(self) -> EmbedNetwork:
        inner = self.encoder_.inner
        use_time = self.data.text is None if self.options.use_time is None else self.options.use_time
        return EmbedNetwork(
            Inputs.of(inner),
            self.backbone,
            self.task,
            use_time=use_time,
            value_dropout=self.options.value_dropout,
        )

    def _train(self, study: Study, **how: Any) -> TrainingResult:
        """Train, unless nothing can be: a pretrained encoder that is held still is judged as it is."""
        if any(one.requires_grad for one in self.network_.parameters()):
            return super()._train(study, **how)
        found = study.validate(self.network_)
        record = {"epoch": 1, "step": 0, "seconds": 0.0, "train_loss": found["validation_loss"], **found}
        n_weights = sum(one.numel() for one in self.network_.parameters())
        return TrainingResult([record | {"is_best": True}], 1, 0.0, 0.0, n_weights, torch.get_num_threads(), None)

    def _study(self, train_rows: EmbedRows, validation_rows: EmbedRows) -> Study:
        know_texts(self.network_, *(one.ids for one in (train_rows.whole, validation_rows.left) if one is not None))
        if train_rows.kind != "events":
            return EmbedStudy(self.task, self.encoder_, train_rows, validation_rows)
        options = self.options
        slices = Pretrain(
            "contrastive", slices=options.slices, shortest=options.shortest, temperature=self.task.temperature
        )
        return HistoryStudy(self.task, slices, train_rows, validation_rows, self.data.max_length)

    def _refuse_parts_of_others(self) -> None:
        super()._refuse_parts_of_others()
        if self.data.words is not None:
            raise ConfigError("words= writes out events; embed reads texts (text=, --text) or events as they are.")
        if self.data.text is not None and self.options.use_time:
            raise ConfigError("use_time=true reads when events were, which texts do not say; leave it out.")
        if self.data.history != "latest":
            raise ConfigError("history='windows' gives several vectors an entity; leave it out.")
