"""`NextEventModel`: what will this user do next, and when; learned from the histories themselves.

    log -> histories -> parts (train, choose, judge) -> windows -> train -> rivals -> judge

Nothing is keyed by user: anybody with a history is answered at once. The counting rivals are fitted beside the
network and travel in the bundle, so that every evaluation shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from habitus._card import write_next_card
from habitus.backbones import Transformer
from habitus.backbones.pretrained.frozen import know_texts
from habitus.baselines.base import fit_timed
from habitus.baselines.next_event import NEXT_BASELINES, NextBaseline
from habitus.bundle import Bundle
from habitus.data.next_batch import HistoryTensors
from habitus.data.next_split import NextSplit
from habitus.errors import ConfigError
from habitus.fields.category import Vocabulary
from habitus.model.ann import ItemIndex, Search
from habitus.model.answers import answer_columns, questions_of, recommend
from habitus.model.base import SequenceModel
from habitus.model.generate import generate
from habitus.model.judging import asked, judge
from habitus.model.new_items import with_items
from habitus.model.next_options import NextOptions
from habitus.model.rivals import pack_rivals, unpack_rivals
from habitus.model.start import Start, begin
from habitus.model.stream import EventStream
from habitus.model.update import update
from habitus.next_evaluation import NextEvaluation
from habitus.next_prepared import (
    PreparedNext,
    has_integer_items,
    prepare_next,
    read_histories,
    repeat_share,
    training_counts,
    training_gaps,
)
from habitus.tasks import Backbone, Inputs
from habitus.tasks.next_event import NextEvent, NextEventNetwork
from habitus.tasks.ranking import answer_states
from habitus.tasks.rules import Rule
from habitus.tasks.sampling import Sampling
from habitus.training import Callback, Training, TrainingResult, train
from habitus.training.next_event import NextEventStudy

_REPEATS = 0.01  # share of repeated items up to which items that were seen are taken out of rankings


class NextEventModel(SequenceModel, tasks=(NextEvent,)):
    """A `SequenceModel` that predicts the next event; see there for the arguments."""

    split_kind = NextSplit
    options_kind = NextOptions

    task: NextEvent
    split: NextSplit
    options: NextOptions
    network_: NextEventNetwork
    start_: Mapping[str, Any] | None = None  # what it went on from, where that was no random weights
    _start: Start | None = None

    def __init__(self, task: NextEvent, backbone: Backbone | None = None, **parts: Any) -> None:
        super().__init__(task, backbone, **parts)
        self._chose_backbone = backbone is not None

    @classmethod
    def default_backbone(cls) -> Backbone:
        """Return a causal Transformer."""
        return Transformer(pooling="last")

    @classmethod
    def backbone_defaults(cls, task: Any, name: str, data: Any = None) -> dict[str, Any]:
        """Return that a next event is read from the last state alone."""
        return {"pooling": "last"}

    # -- learning

    def fit(
        self,
        events: Any,
        *,
        start: str | Path | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> NextEventModel:
        """Train on the histories of a log and judge on its test part; returns self.

        Args:
            events: the log: a path (file, folder or glob of Parquet, CSV, Arrow), or a polars, pandas or Arrow table.
            start: a bundle of `SequenceModel(Pretrain(...))` whose vocabularies and weights are taken over.
            folder: where checkpoints and logs of the run go; None keeps none.
            resume: go on from the folder's checkpoint to the weights that an undisturbed run gives.
            callbacks: watch the run, e.g. `ProgressBar()`.

        Afterwards: `history_` (one record an epoch), `evaluation_` (on the test part, if there is one).
        """
        prepared = self.begin_from(start).prepare(events)
        return self.fit_prepared(prepared, folder=folder, resume=resume, callbacks=callbacks)

    def begin_from(self, start: str | Path | Start | None) -> NextEventModel:
        """Take over the backbone of a pretrained bundle, whose vocabularies `prepare` then keeps; None: of nothing."""
        begin(self, start, chosen=self._chose_backbone)
        return self

    def prepare(self, events: Any) -> PreparedNext:
        """Read a log, divide its histories, learn vocabularies from the training part and encode."""
        known = None if self._start is None else self._start.encoder
        return prepare_next(self.task, events, self.data, self.split, known)

    def fit_prepared(
        self,
        prepared: PreparedNext,
        *,
        rivals: Sequence[NextBaseline] | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> NextEventModel:
        """Train on what `habitus.next_prepared.prepare_next` made; `rivals` that are fitted already are taken over."""
        self._refuse_rows_without_positions()
        self.encoder_ = prepared.encoder
        torch.manual_seed(self.seed)
        network = self._build_network(training_gaps(prepared))
        if self._start is not None:
            self._start.refuse_asked(prepared)
            self._start.hand_over(network, self.options.taken_rate, grown=[self.task.item])
        return self.train_on(
            prepared, network, self.training, rivals=rivals, folder=folder, resume=resume, callbacks=callbacks
        )

    def train_on(
        self,
        prepared: PreparedNext,
        network: NextEventNetwork,
        training: Training,
        *,
        rivals: Sequence[NextBaseline] | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> NextEventModel:
        """Train a network, fit the rivals and judge all of them; what `fit` and `update` share."""
        self._saved_card, self.hash_ = "", None
        self.filter_seen_ = self._filter_seen(prepared)
        self.popularity_ = training_counts(prepared)
        self.integer_items_ = has_integer_items(prepared)
        self.network_ = network
        network.item_counts = torch.from_numpy(self.popularity_)
        know_texts(network, prepared.histories.ids)
        tensors = HistoryTensors(prepared.histories)
        self.result_: TrainingResult = train(
            self.network_,
            self._study(prepared, tensors),
            training,
            seed=self.seed,
            folder=Path(folder) if folder else None,
            resume=resume,
            fingerprint=f"{prepared.fingerprint()}|{self.backbone}|{self.options}|{self.task}|{self.data.max_length}"
            + ("" if self.start_ is None else f"|{self.start_}"),
            callbacks=callbacks,
        )
        self.history_ = self.result_.history
        self.log_ = {"source": prepared.log.source, "fingerprint": prepared.fingerprint()}
        self.baselines_ = list(rivals) if rivals is not None else self.fit_baselines(prepared)
        self.evaluation_ = judge(self, prepared, tensors) if prepared.parts.test else None
        return self

    def fit_baselines(self, prepared: PreparedNext) -> list[NextBaseline]:
        """Return the counting rivals, fitted on the training part of each history; `rival_seconds_` has the times."""
        read = (prepared.histories, prepared.parts.train_stop, self.task.item, prepared.encoder.sizes[self.task.item])
        fits = {name: partial(NEXT_BASELINES[name]().fit, *read) for name in self.options.baselines}
        fitted, self.rival_seconds_ = fit_timed(fits)
        return fitted

    # -- judging

    def evaluate(self, events: Any, split: str | None = None) -> NextEvaluation:
        """Judge the model on the test part of a log, beside its counting rivals.

        Args:
            events: the log it was trained on, or another one.
            split: as the model was trained with; another one would judge on events that trained it.

        Raises:
            ConfigError: if the split is not the model's own.
        """
        self._require_fitted()
        if split is not None and split != self.split.by:
            raise ConfigError(
                f"This model was trained with split='{self.split.by}', so that events which '{split}' judges on may "
                f"have trained it; evaluate it with '{self.split.by}', or fit it with --split {split}."
            )
        log, rows, histories = read_histories(self.encoder_, events, self.data)
        parts = self.split.divide(histories)
        if not parts.test:
            raise ConfigError("This model was trained with split='none', which holds nothing out to judge on.")
        prepared = PreparedNext(
            log, rows.entities, self.encoder_, histories, parts, self.task.item, self.data.max_length
        )
        notes = []
        if prepared.fingerprint() != self.log_["fingerprint"]:
            notes.append("This is not the log that the model was trained on, or it has changed since.")
        return judge(self, prepared, HistoryTensors(histories), notes)

    # -- answering

    def predict(self, events: Any, at: Any | None = None) -> pl.DataFrame:
        """Say what each entity does next after its last event.

        Args:
            events: the log; histories of anybody.
            at: when the next event happens (a datetime with a zone), for a model that was told in training.

        Returns:
            A frame of the entity, `prediction` (the likeliest item, seen or not), `probability` (of it, in the whole
            catalogue), `days` (median time until the event) where the task predicts when, and one column for each
            other field.
        """
        self._require_fitted()
        _, rows, histories = read_histories(self.encoder_, events, self.data)
        questions = questions_of(self, histories, at)
        states = answer_states(self.network_, HistoryTensors(histories), questions)
        return pl.DataFrame([rows.entities, *answer_columns(self, states)])

    def recommend(
        self,
        events: Any,
        k: int = 10,
        *,
        filter_seen: bool | None = None,
        candidates: Iterable[Any] | None = None,
        at: Any | None = None,
        index: ItemIndex | None = None,
    ) -> pl.DataFrame:
        """Recommend the k likeliest next items to each entity of a log.

        Args:
            events: histories of anybody.
            k: items a user.
            filter_seen: leave out what the user has had; None does as training chose.
            candidates: only these items may be recommended.
            at: when the next event happens, for a model that was told in training.
            index: from `index()`, to search instead of scoring every item.

        Returns:
            A frame of the entity, the item, `score` (log-odds up to a constant a user) and `rank` from 1; users in
            order of first appearance, at most k rows each.
        """
        self._require_fitted()
        _, rows, histories = read_histories(self.encoder_, events, self.data)
        return recommend(
            self,
            rows.entities,
            histories,
            k,
            filter_seen=self.filter_seen_ if filter_seen is None else filter_seen,
            candidates=candidates,
            at=at,
            index=index,
        )

    def index(self, search: Search | None = None) -> ItemIndex:
        """Return an approximate index over the items, for catalogues of millions; needs the extra `ann`.

        Args:
            search: how thoroughly it is built and searched; `index.recall(model_states)` says what it misses.
        """
        self._require_fitted()
        return ItemIndex(self.network_, search)

    def embed(self, events: Any, at: Any | None = None) -> np.ndarray:
        """Return the state after each entity's last event, float32 (n, D), entities in order of first appearance.

        Args:
            events: histories of anybody.
            at: when the next event happens, for a model that was told in training.
        """
        self._require_fitted()
        _, _, histories = read_histories(self.encoder_, events, self.data)
        questions = questions_of(self, histories, at)
        return answer_states(self.network_, HistoryTensors(histories), questions).numpy()

    def generate(
        self, events: Any, n: int = 10, *, sampling: Sampling | None = None, rules: Sequence[Rule] = ()
    ) -> pl.DataFrame:
        """Continue each history by n events, each read before the next one is drawn.

        Args:
            events: histories of anybody.
            n: events to generate for each entity.
            sampling: how boldly items are drawn; `Sampling(temperature=0)` takes the likeliest, with median times.
            rules: constraints on items, such as `Once()`: an app cannot be installed twice.

        Returns:
            A frame of the entity, `step` from 1, the item, the time where the task predicts when, and the other
            predicted fields; n rows an entity.
        """
        self._require_fitted()
        return generate(self, events, n, sampling, rules)

    def stream(self) -> EventStream:
        """Return an empty stream: users' states that fold in one event at a time."""
        self._require_fitted()
        return EventStream(self)

    def with_items(self, content: pl.DataFrame, *, boost: float = 1.0) -> NextEventModel:
        """Return a model that also knows new items from their content, at once: without events or training.

        Args:
            content: the item and columns that describe it, of new items and of known ones, from which is learned what
                content means: texts and categories by their words, floats as they are (such as vectors of titles).
            boost: length of the new items' embeddings as a share of what is foretold, which is shorter than what known
                items have: above 1 new items stand higher in lists, and push known ones out of them.

        The counting rivals stay behind: they count events, and the new items have none.
        """
        self._require_fitted()
        return with_items(self, content, boost)

    def update(
        self,
        events: Any,
        *,
        share: float = 0.25,
        content: pl.DataFrame | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> NextEventModel:
        """Learn new items and new behaviour from a longer log, for a share of the first training; returns self.

        Args:
            events: the whole log, old events and new: reading the old again is what keeps them known.
            share: epochs of this training as a share of the first one's.
            content: the item and columns that describe it (title, category), from which new items get their first
                embedding; without it they start beside the items that they stand beside.
            callbacks: watch the run.
        """
        self._require_fitted()
        return update(self, events, share=share, content=content, callbacks=callbacks)

    @property
    def vocabulary_(self) -> Vocabulary:
        """The items that the model knows."""
        vocabulary = self.encoder_.fields[self.task.item]
        assert isinstance(vocabulary, Vocabulary), "the item is a category"
        return vocabulary

    # -- inside

    def _build_network(self, gaps_days: np.ndarray | None = None) -> NextEventNetwork:
        return NextEventNetwork(Inputs.of(self.encoder_), self.backbone, self.task, gaps_days)

    def _study(self, prepared: PreparedNext, tensors: HistoryTensors) -> NextEventStudy:
        return NextEventStudy(
            tensors,
            prepared.begin,
            prepared.parts.train_stop,
            asked(self, prepared.validation()),
            self.data.max_length,
            self.task.item,
            self.filter_seen_,
        )

    def _filter_seen(self, prepared: PreparedNext) -> bool:
        if self.options.filter_seen != "auto":
            return self.options.filter_seen == "yes"
        return repeat_share(prepared) <= _REPEATS

    def item_column(self, ids: np.ndarray, name: str | None = None) -> pl.Series:
        """Return items of ids as a column, null for ids that are none; whole numbers if the log had them as numbers."""
        items = pl.Series(name or self.task.item, self.vocabulary_.decode(ids), dtype=pl.String)
        return items.cast(pl.Int64) if self.integer_items_ else items

    # -- saving

    def _own_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        tensors, rivals = pack_rivals(self.baselines_)
        tensors["popularity"] = self.popularity_
        more = {"filter_seen": self.filter_seen_, "integer_items": self.integer_items_, "log": self.log_}
        more |= {} if self.start_ is None else {"start": dict(self.start_)}
        return tensors, {"baselines": rivals}, more

    def _restore(self, bundle: Bundle) -> None:
        config = bundle.documents["model"]
        self.filter_seen_, self.log_ = config["filter_seen"], config["log"]
        self.integer_items_ = config["integer_items"]
        self.start_ = config.get("start")
        self.popularity_ = bundle.tensors["popularity"]
        self.baselines_ = unpack_rivals(bundle, NEXT_BASELINES)

    def _write_card(self) -> str:
        return write_next_card(self)
