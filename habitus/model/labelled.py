"""`LabelledModel`: one answer for a whole sequence, learned from a table of examples with labels.

    log -> prepare (read, cut, split, encode) -> train -> calibrate -> fit the counting rivals -> judge on test

What differs between classes and numbers is the task's business: losses, calibration, rivals, metrics, columns.
A model carries its fitted rivals, so that every evaluation shows them, and 64-bit hashes of the examples it was
trained on, so that an evaluation can leave them out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from habitus._card import write_card
from habitus.backbones.frames import Augment
from habitus.baselines import BASELINES
from habitus.baselines.base import fit_timed
from habitus.baselines.regress import NUMBER_BASELINES
from habitus.bundle import Bundle
from habitus.data.batch import SequenceTensors
from habitus.data.encode import EncodedSequences
from habitus.data.examples import Examples
from habitus.data.split import Split
from habitus.errors import ConfigError, did_you_mean
from habitus.evaluation import Evaluation, judge
from habitus.model.base import SequenceModel, tensors_below
from habitus.model.rivals import pack_rivals, unpack_rivals
from habitus.prepared import Prepared, average_windows, prepare, prepare_to_score, target_columns
from habitus.tasks import Classify, Embedder, Inputs, Regress, SequenceNetwork, Task
from habitus.trained_on import TrainedOn
from habitus.training import Callback, LabelledStudy, TrainingResult, score, train

CALIBRATIONS = ("none", "platt", "isotonic", "temperature")


@dataclass(frozen=True)
class Options:
    """What a network reads besides the fields, and what is done after training.

    Args:
        use_time: read age at the cutoff, gap, hour and weekday of events.
        wide: add a linear path over the counts of values (wide and deep).
        value_dropout: share of category values read as UNKNOWN in training.
        calibration: map probabilities by a fit on validation: "platt", "isotonic", "temperature" or "none".
        baselines: rivals by counting that are fitted beside the model; None: all that the task has.
        augment: change the frames of sound a little in training; other logs have none.
    """

    use_time: bool = True
    wide: bool = True
    value_dropout: float = 0.5
    calibration: str = "none"
    baselines: tuple[str, ...] | None = None
    augment: bool = True

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            raise ConfigError(f"calibration={self.calibration!r}; {did_you_mean(self.calibration, CALIBRATIONS)}")
        if not 0 <= self.value_dropout < 1:
            raise ConfigError(f"value_dropout={self.value_dropout} is a share: 0 or more and below 1.")
        known = BASELINES.keys() | NUMBER_BASELINES.keys()
        for name in self.baselines or ():
            if name not in known:
                raise ConfigError(f"There is no baseline '{name}'; {did_you_mean(name, known)}")


class LabelledModel(SequenceModel, tasks=(Classify, Regress)):
    """A `SequenceModel` whose targets stand in a table of examples; see there for the arguments."""

    sources = ("events", "examples")
    split_kind = Split
    options_kind = Options

    task: Task
    options: Options
    network_: SequenceNetwork

    # -- learning

    def fit(
        self,
        events: Any,
        examples: Any,
        *,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> LabelledModel:
        """Train on a log and judge on its test part; returns self.

        Args:
            events: the log: a path (file, folder or glob of Parquet, CSV, Arrow), or a polars, pandas or Arrow table.
            examples: a table with the entity, the cutoff, the target and profile fields, in the same forms.
            folder: where checkpoints and logs of the run go; None keeps none.
            resume: go on from the folder's checkpoint to the weights that an undisturbed run gives.
            callbacks: watch the run, e.g. `ProgressBar()`.

        Afterwards: `history_` (one record an epoch), `evaluation_` (on the test part, if there is one).
        """
        prepared = prepare(self.task, events, examples, self.data, self.split)
        return self.fit_prepared(prepared, folder=folder, resume=resume, callbacks=callbacks)

    def fit_prepared(
        self,
        prepared: Prepared,
        *,
        rivals: Sequence[Any] | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> LabelledModel:
        """Train on rows that `habitus.prepared.prepare` made; `rivals` that are fitted already are taken over."""
        self.task.check_calibration(self.options.calibration)
        self._refuse_rows_without_positions()
        self._saved_card = ""
        self.encoder_ = prepared.encoder
        train_rows, validation_rows = prepared.rows("train"), prepared.rows("validation")
        torch.manual_seed(self.seed)
        self.network_ = self._build_network()
        wide, began = self.network_.wide, time.monotonic()
        groups = prepared.entity_codes()[train_rows.example]
        offset = None if wide is None else wide.fit(train_rows, validation_rows, self.task.fit_linear, groups=groups)
        linear_s = time.monotonic() - began
        self.result_: TrainingResult = train(
            self.network_,
            LabelledStudy(self.task, SequenceTensors(train_rows, offset=offset), self._tensors(validation_rows)),
            self.training,
            seed=self.seed,
            folder=Path(folder) if folder else None,
            resume=resume,
            fingerprint=f"{prepared.fingerprint()}|{self.backbone}|{self.options}|{self.task.to_json()}",
            callbacks=callbacks,
        )
        self.history_, self.seconds_ = self.result_.history, linear_s + self.result_.seconds
        self.calibration_ = self._fit_calibration(validation_rows)
        self.baselines_ = list(rivals) if rivals is not None else self.fit_baselines(prepared)
        schema = prepared.encoder.schema
        seen = prepared.examples.frame.filter(pl.Series(np.isin(prepared.part, ["train", "validation"])))
        self.trained_on_ = TrainedOn.remember(seen, schema.entity, schema.cutoff)
        self.evaluation_ = self._judge_test(prepared)
        return self

    def fit_baselines(self, prepared: Prepared) -> list[Any]:
        """Return the counting rivals, fitted on the same training and validation rows; times in `rival_seconds_`."""
        train_rows, validation_rows = prepared.rows("train"), prepared.rows("validation")
        sizes = prepared.encoder.sizes | prepared.encoder.profile_sizes
        names = self.task.rivals if self.options.baselines is None else self.options.baselines
        fits = {name: partial(self.task.fit_rival, name, train_rows, validation_rows, sizes) for name in names}
        fitted, self.rival_seconds_ = fit_timed(fits)
        return fitted

    # -- answering

    def predict(self, events: Any, examples: Any | None = None) -> pl.DataFrame:
        """Score examples, or every entity at the end of its history.

        Returns:
            A frame of entity, cutoff, prediction, and for classes `probability` of the positive one when there are
            two, else `probability_<class>` for each, for quantiles `prediction_q10` and so on; one row an example, in
            the order given.
        """
        table, encoded = self._encode(events, examples)
        answers = self.task.answer_columns(self._answer(encoded, table.frame.height))
        schema = self.encoder_.schema
        return table.frame.select(schema.entity, schema.cutoff).with_columns(*answers)

    def predict_proba(self, events: Any, examples: Any | None = None) -> np.ndarray:
        """Return probabilities (n, C), columns in the order of `task.classes_`; of a model of classes."""
        if self.task.score_name != "probability":
            raise ConfigError(f"A model of the task '{self.task.name}' has no probabilities; call predict(...).")
        table, encoded = self._encode(events, examples)
        return self._answer(encoded, table.frame.height)

    def embed(self, events: Any, examples: Any | None = None) -> np.ndarray:
        """Return the pooled state of each example, float32 (n, D)."""
        table, encoded = self._encode(events, examples)
        states = score(Embedder(self.network_), self._tensors(encoded))
        return average_windows(states, encoded.example, table.frame.height)

    def evaluate(self, events: Any, examples: Any, *, include_training: bool = False) -> Evaluation:
        """Judge the model on labelled examples, beside its counting rivals.

        Args:
            events: the log.
            examples: with the target.
            include_training: count examples that the model was trained on, too; by default they are left out, which
                the notes say.

        Raises:
            DataError: if no example is left.
        """
        self._require_fitted()
        table, encoded = self._encode(events, examples, self.task.target)
        schema = self.encoder_.schema
        keep, notes = self.trained_on_.held_out(
            table.frame, schema.entity, schema.cutoff, include_training=include_training
        )
        targets = target_columns(table, self.task.target)
        target = self.task.encode_target(targets)
        answers = {name: answer[keep] for name, answer in self._all_answers(encoded, table.frame.height).items()}
        frame = _with_targets(table, targets).filter(pl.Series(keep))
        return self._judged(frame, target[keep], answers, "given", [*table.notes, *notes])

    # -- inside

    def _build_network(self) -> SequenceNetwork:
        encoder = self.encoder_
        inputs = Inputs(encoder.sizes, encoder.knots, encoder.profile_sizes, encoder.profile_knots, encoder.groups)
        return SequenceNetwork(
            inputs,
            self.backbone,
            self.task,
            use_time=self.options.use_time,
            wide=self.options.wide,
            value_dropout=self.options.value_dropout,
            augment=Augment() if self.options.augment else None,
        )

    def _tensors(self, encoded: EncodedSequences) -> SequenceTensors:
        return SequenceTensors(encoded, with_bags=self.options.wide)

    def _encode(self, events: Any, examples: Any | None, target: Any = None) -> tuple[Examples, EncodedSequences]:
        self._require_fitted()
        return prepare_to_score(self.encoder_, events, examples, self.data, target)

    def _answer(self, encoded: EncodedSequences, n_examples: int) -> np.ndarray:
        answer = self.task.decode(score(self.network_, self._tensors(encoded)).reshape(len(encoded), -1))
        return self.task.calibrated(self.calibration_, average_windows(answer, encoded.example, n_examples))

    def _all_answers(self, encoded: EncodedSequences, n_examples: int) -> dict[str, np.ndarray]:
        answers = {"model": self._answer(encoded, n_examples)}
        for rival in self.baselines_:
            answers[rival.name] = average_windows(self.task.rival_answer(rival, encoded), encoded.example, n_examples)
        return answers

    def _fit_calibration(self, validation_rows: EncodedSequences) -> Any:
        answer = self.task.decode(score(self.network_, self._tensors(validation_rows)))
        return self.task.fit_calibration(self.options.calibration, validation_rows.labels, answer)

    def _refuse_parts_of_others(self) -> None:
        super()._refuse_parts_of_others()
        for name in self.options.baselines or ():
            if name not in self.task.rivals:
                advice = did_you_mean(name, self.task.rivals)
                raise ConfigError(f"The baseline '{name}' is not for the task '{self.task.name}'; {advice}")

    def _judge_test(self, prepared: Prepared) -> Evaluation | None:
        is_test = prepared.part == "test"
        if not is_test.any():
            return None
        rows = prepared.rows("test")
        position = np.cumsum(is_test) - 1
        rows = replace(rows, example=position[rows.example])
        n = int(is_test.sum())
        target = np.empty((n, *rows.labels.shape[1:]), rows.labels.dtype)
        target[rows.example] = rows.labels
        targets = target_columns(prepared.examples, self.task.target)
        frame = _with_targets(prepared.examples, targets).filter(pl.Series(is_test))
        self.test_answers_ = self._all_answers(rows, n)
        return self._judged(frame, target, self.test_answers_, "test", [])

    def _judged(
        self, frame: pl.DataFrame, target: np.ndarray, answers: Mapping[str, np.ndarray], split: str, notes: list[str]
    ) -> Evaluation:
        schema = self.encoder_.schema
        who = frame.select(schema.entity, schema.cutoff, *_as_list(self.task.target))
        rivals = {name: answer for name, answer in answers.items() if name != "model"}
        return judge(self.task, target, answers["model"], rivals, split=split, notes=notes, who=who)

    def _own_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        tensors, rivals = pack_rivals(self.baselines_)
        tensors |= {f"trained_on/{name}": value for name, value in self.trained_on_.to_tensors().items()}
        return tensors, {"baselines": rivals}, {"calibration": self.calibration_.to_json()}

    def _restore(self, bundle: Bundle) -> None:
        self.calibration_ = self.task.calibration_from_json(bundle.documents["model"]["calibration"])
        self.baselines_ = unpack_rivals(bundle, self.task.rivals)
        self.trained_on_ = TrainedOn.from_tensors(tensors_below("trained_on/", bundle.tensors))

    def _write_card(self) -> str:
        return write_card(self)


def _with_targets(examples: Examples, targets: pl.DataFrame) -> pl.DataFrame:
    return examples.frame.drop(examples.target or []).with_columns(*targets.get_columns())


def _as_list(target: str | Sequence[str]) -> list[str]:
    return [target] if isinstance(target, str) else list(target)
