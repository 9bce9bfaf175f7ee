"""`TaskModel`: what the models share whose data carries its own answers: tags, pairs of texts, series, transcripts.

    sources -> prepare (read, split, learn the encoder) -> train -> fit the rivals -> judge on test

A leaf says how sources are read, which network it builds, what a batch's loss is and what it answers; the rest is
here. A model carries its fitted rivals, so that every evaluation shows them, and 64-bit hashes of the units that it
was trained on, so that an evaluation can leave them out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch

from habitus._card import write_task_card
from habitus.baselines.base import fit_timed
from habitus.baselines.rival import Rival
from habitus.bundle import Bundle
from habitus.errors import ConfigError, DataError
from habitus.evaluation import Evaluation, judge_answers
from habitus.model.base import SequenceModel
from habitus.model.rivals import pack_rivals, unpack_rivals
from habitus.model.start import Start, begin
from habitus.prepared_task import PreparedTask
from habitus.tasks.judged import JudgedTask
from habitus.trained_on import hashes
from habitus.training import Callback, Study, TrainingResult, train


class TaskModel(SequenceModel, ABC):
    """A `SequenceModel` whose data carries its own answers; see there for the arguments."""

    predict_sources: ClassVar[tuple[str, ...]] = ()  # empty: the same
    rival_kinds: ClassVar[Mapping[str, type[Rival]]] = {}

    takes_start: ClassVar[bool] = False  # whether it can go on from a pretrained bundle

    task: JudgedTask
    facts_: dict[str, Any]
    start_: Mapping[str, Any] | None = None  # what it went on from, where that was no random weights
    _start: Start | None = None
    _chose_backbone: bool = True

    # -- what a leaf says

    @abstractmethod
    def prepare(self, *sources: Any) -> PreparedTask:
        """Read the sources, split their units and learn the encoder from the training units."""

    @abstractmethod
    def read(self, *sources: Any) -> PreparedTask:
        """Read sources for a fitted model, with its encoder; every unit's part is "given"."""

    @abstractmethod
    def truth(self, rows: Any) -> Any:
        """Return the true answers of units, as the task's metrics read them."""

    @abstractmethod
    def answer(self, rows: Any) -> Any:
        """Return the model's answers to units, as the task's metrics read them."""

    def own_sources(self) -> tuple[str | None, ...]:
        """Return where the data is that judges this model when no other is given: that of its fit."""
        return tuple(self.facts_["sources"])

    def rival_rows(self, rows: Any) -> Any:
        """Return units as rivals read them."""
        return rows

    def panels(self, rows: Any, truth: Any, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return pictures and tables for the report, as plain data; see `evaluate/task_panels.py`.

        Args:
            rows: the units that were judged.
            truth: their true answers.
            answers: of "model" and of each rival, by name.
        """
        return []

    @abstractmethod
    def _study(self, train_rows: Any, validation_rows: Any) -> Study:
        """Return what the loop learns from: batches, their loss, and how an epoch is judged."""

    def _train(self, study: Study, **how: Any) -> TrainingResult:
        """Train the network in place; `how` goes to `training.train`."""
        return train(self.network_, study, self.training, seed=self.seed, **how)

    def _check(self) -> None:
        """Refuse combinations of options that cannot be right."""

    # -- learning

    def fit(
        self,
        *sources: Any,
        folder: str | Path | None = None,
        start: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> TaskModel:
        """Train on sources and judge on their test part; returns self.

        Args:
            sources: as the class's `sources` names them.
            start: a bundle of `SequenceModel(Pretrain(...))` whose vocabularies and weights are taken over.
            folder: where checkpoints and logs of the run go; None keeps none.
            resume: go on from the folder's checkpoint to the weights that an undisturbed run gives.
            callbacks: watch the run, e.g. `ProgressBar()`.

        Afterwards: `history_` (one record an epoch), `evaluation_` (on the test part, if there is one).
        """
        self.begin_from(start)
        self._check()
        return self.fit_prepared(self.prepare(*sources).on(sources), folder=folder, resume=resume, callbacks=callbacks)

    def begin_from(self, start: str | Path | Start | None) -> None:
        """Take over the backbone of a pretrained bundle; `prepare` then keeps its vocabularies. None: of nothing.

        Raises:
            ConfigError: if the task, or the backbone that was chosen, cannot start there.
        """
        if start is not None and (not self.takes_start or getattr(self.data, "reads_text", False)):
            raise ConfigError(
                f"A model of the task '{self.task.name}' cannot start from a pretrained bundle with such data; those "
                "of classify, regress, next-event, and of tag and embed on a log can. Leave out start= (--from)."
            )
        begin(self, start, chosen=self._chose_backbone)

    def fit_prepared(
        self,
        prepared: PreparedTask,
        *,
        rivals: Sequence[Rival] | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> TaskModel:
        """Train on what `prepare` made; `rivals` that are fitted already are taken over."""
        self._check()
        self._refuse_rows_without_positions()
        self._saved_card, self.hash_ = "", None
        self.encoder_ = prepared.encoder
        train_rows, validation_rows = prepared.of("train"), prepared.of("validation")
        torch.manual_seed(self.seed)
        self.network_ = self._build_network()
        notes = [*prepared.notes, *self._taken_over(prepared)]
        options = f"{self.task.to_json()}|{self.backbone}|{self.data}|{self.options}"
        options += "" if self.start_ is None else f"|{self.start_}"
        self.result_ = self._train(
            self._study(train_rows, validation_rows),
            folder=Path(folder) if folder else None,
            resume=resume,
            fingerprint=f"{prepared.fingerprint()}|{options}",
            callbacks=callbacks,
        )
        self.history_ = self.result_.history
        self.baselines_ = list(rivals) if rivals is not None else self._fit_rivals(train_rows, validation_rows)
        self.trained_keys_ = _trained_keys(prepared)
        self.facts_ = {"source": prepared.source, "sources": list(prepared.paths), "parts": prepared.counts()}
        test = prepared.of("test")
        self.evaluation_ = self._judge(test, "test", notes) if len(test) else None
        return self

    def _taken_over(self, prepared: PreparedTask) -> list[str]:
        """Put the start's weights into the network, if there is one; return what is to be said of it."""
        if self._start is None:
            return []
        said = self._start.refuse_judges(prepared.keys, prepared.part, self.split)
        self._start.hand_over(self.network_, self.options.taken_rate, new=self._new_fields())
        return said

    def _new_fields(self) -> list[str]:
        """Return the fields that the network reads beside those of the log."""
        return []

    # -- judging

    def evaluate(self, *sources: Any, include_training: bool = False) -> Evaluation:
        """Judge the model on sources with their answers, beside its rivals.

        Args:
            sources: as for `fit`.
            include_training: count units that the model was trained on, too; by default they are left out, which the
                notes say.

        Raises:
            DataError: if no unit is left.
        """
        self._require_fitted()
        prepared = self.read(*sources)
        seen = np.isin(hashes(prepared.keys.to_list()), self.trained_keys_)
        notes, n = [*prepared.notes, *([prepared.rejects.summary()] if prepared.rejects else [])], len(seen)
        if seen.any():
            fate = "counted all the same" if include_training else "left out"
            notes.append(f"{seen.sum():,} of {n:,} {self.task.unit} were used in training and are {fate}.")
        chosen = np.arange(n) if include_training else np.flatnonzero(~seen)
        if not len(chosen):
            raise DataError(
                f"All {n:,} {self.task.unit} were used to train or choose this model, so that judging it on them would "
                "flatter it. Give others, or ask for these with include_training (--include-training)."
            )
        return self._judge(prepared.rows.take(chosen), "given", notes)

    def _judge(self, rows: Any, split: str, notes: Sequence[str]) -> Evaluation:
        truth = self.truth(rows)
        told = self.rival_rows(rows)
        answers = {"model": self.answer(rows), **{rival.name: rival.answer(told) for rival in self.baselines_}}
        self.test_truth_, self.test_answers_ = truth, answers
        rivals = {name: answer for name, answer in answers.items() if name != "model"}
        panels = self.panels(rows, truth, answers)
        return judge_answers(
            self.task, truth, answers["model"], rivals, n=len(rows), split=split, notes=notes, panels=panels
        )

    def _fit_rivals(self, train_rows: Any, validation_rows: Any) -> list[Rival]:
        fits = {
            name: partial(self.rival_kinds[name]().fit, train_rows, validation_rows) for name in self.options.baselines
        }
        fitted, self.rival_seconds_ = fit_timed(fits)
        return fitted

    # -- saving

    def _own_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        tensors, documents = pack_rivals(self.baselines_)
        more = {"facts": self.facts_} if self.start_ is None else {"facts": self.facts_, "start": dict(self.start_)}
        return tensors | {"trained_on/keys": self.trained_keys_}, {"baselines": documents}, more

    def _restore(self, bundle: Bundle) -> None:
        self.trained_keys_ = bundle.tensors["trained_on/keys"]
        self.start_ = bundle.documents["model"].get("start")
        self.facts_ = bundle.documents["model"]["facts"]
        self.baselines_ = unpack_rivals(bundle, self.rival_kinds)

    def _write_card(self) -> str:
        return write_task_card(self)


def _trained_keys(prepared: PreparedTask) -> np.ndarray:
    """Return hashes of the units that trained the model or chose its epoch, sorted, each once."""
    used = np.isin(prepared.part, ["train", "validation"])
    return np.unique(hashes(prepared.keys.filter(pl.Series(used)).to_list()))
