"""`TagModel`: a label for every event of every sequence; see `tasks/tag.py` for what is predicted.

    log (or files of tagged text) -> histories with labels -> windows -> train -> rivals -> judge

Every event is learned, tagged and judged exactly once, whatever the length of its history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from habitus.backbones.pretrained import Pretrained
from habitus.backbones.pretrained.frozen import know_texts
from habitus.baselines.base import fit_timed
from habitus.baselines.rival import Rival
from habitus.baselines.tag import TAG_BASELINES, FrequentTag, RunningRates, WindowLogistic
from habitus.config import check_taken_rate
from habitus.data.encode import Encoder
from habitus.data.options import Data
from habitus.data.tags.read import TagEncoder, TagLog, in_log_order, read_to_answer, read_to_learn
from habitus.data.tags.split import TagSplit
from habitus.data.tags.tagged import Tagged, Tags, label_history_sizes
from habitus.errors import ConfigError, did_you_mean
from habitus.evaluation import Evaluation
from habitus.model.tag_panels import tag_panels
from habitus.model.task_model import TaskModel
from habitus.prepared_task import PreparedTask
from habitus.tasks.network import Inputs
from habitus.tasks.tag import Tag
from habitus.tasks.tag_network import TagNetwork, TagTensors, tag_rows
from habitus.training.tag import TagStudy

_SPECIALS = 2  # [CLS] and [SEP], or the like
_SHOWN_LABELS = 12  # with a column of probabilities each


@dataclass(frozen=True)
class TagOptions:
    """What the network of a `Tag` reads besides the fields, and its rivals.

    Args:
        use_time: read the gap before an event, its hour and weekday; None: yes, unless the times are made up (text).
        value_dropout: share of category values read as UNKNOWN in training, of fields with over 256 values.
        baselines: rivals that are fitted beside the model; None: all that fit the number of labels.
        taken_rate: learning rate of what was taken over from a pretrained bundle, as a share of the training's; 0 holds
            it still.
    """

    use_time: bool | None = None
    value_dropout: float = 0.0
    baselines: tuple[str, ...] | None = None
    taken_rate: float = 1.0

    def __post_init__(self) -> None:
        check_taken_rate(self.taken_rate)
        if not 0 <= self.value_dropout < 1:
            raise ConfigError(f"value_dropout={self.value_dropout} is a share: 0 or more and below 1.")
        for name in self.baselines or ():
            if name not in TAG_BASELINES:
                raise ConfigError(f"There is no baseline '{name}'; {did_you_mean(name, TAG_BASELINES)}")


class TagModel(TaskModel, tasks=(Tag,)):
    """A `SequenceModel` that tags every event; see there for the arguments.

    >>> from habitus.model.base import SequenceModel
    >>> SequenceModel(Tag("tag", direction="both")).backbone.causal
    False
    """

    split_kind = TagSplit
    options_kind = TagOptions
    data_kind = Data
    encoder_kind = TagEncoder
    reads_text = True
    rival_kinds = TAG_BASELINES
    takes_start = True

    task: Tag
    options: TagOptions
    split: TagSplit
    network_: TagNetwork
    encoder_: TagEncoder

    def __init__(self, task: Tag, backbone: Any | None = None, **parts: Any) -> None:
        self._chose_backbone = backbone is not None
        if backbone is None:
            backbone = self.backbone_from({"name": "transformer", **self.backbone_defaults(task, "transformer")})
        super().__init__(task, backbone, **parts)

    @classmethod
    def backbone_defaults(cls, task: Tag, name: str, data: Any = None) -> Mapping[str, Any]:
        """Return what the direction of the task needs."""
        if task.direction == "past" or name == "pretrained":
            return {}
        return {"causal": False} if name == "transformer" else {"bidirectional": True}

    # -- reading

    def prepare(self, *sources: Any) -> PreparedTask:
        """Read the log, divide its entities, and learn fields and labels of the training entities."""
        (events,) = sources
        found = read_to_learn(
            events,
            self.task.target,
            self.data,
            self.split,
            labels=self.task.labels,
            past_only=self.task.direction == "past",
            tokenizer=self.backbone.pretrained if isinstance(self.backbone, Pretrained) else None,
            known=None if self._start is None else self._start.encoder,
        )
        self.task.learned(found.encoder.labels).refuse_wrong_labels()
        return self._prepared(found)

    def read(self, *sources: Any) -> PreparedTask:
        """Read a log with its labels for a fitted model."""
        (events,) = sources
        return self._prepared(read_to_answer(self.encoder_, events, self.data))

    def fit_prepared(self, prepared: PreparedTask, **rest: Any) -> TagModel:
        """Train on what `prepare` made; the task takes over the labels that training saw."""
        self.task = self.task.learned(prepared.encoder.labels)
        super().fit_prepared(prepared, **rest)
        return self

    # -- answering

    def truth(self, rows: Tagged) -> Tagged:
        """Return the rows themselves: they carry their labels."""
        return rows

    def answer(self, rows: Tagged) -> Tags:
        """Return the tag of every event."""
        return tag_rows(self.network_, self._tensors(rows))[0]

    def rival_rows(self, rows: Tagged) -> Tagged:
        """Return rows without the pieces of words, which are for a pretrained encoder alone."""
        pieces = set() if self.encoder_.words is None else set(self.encoder_.words.names)
        ids = {name: values for name, values in rows.histories.ids.items() if name not in pieces}
        return replace(rows, histories=replace(rows.histories, ids=ids))

    def predict(self, events: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
        """Tag every event of a log, known users or not.

        Args:
            events: a log, or files of tagged or untagged text. The column of labels may be absent; a model with a
                label history reads it where it is there.

        Returns:
            The log, its events in their order, with `prediction` and, of two labels, `probability` of the second one,
            of a few the `probability_...` of each, of many or of BIO tags the `probability` of the predicted one.
        """
        self._require_fitted()
        found = read_to_answer(self.encoder_, events, self.data)
        self.rejects_, self.notes_ = found.log.rejects, found.notes
        if self.task.label_history and not found.rows.n_labelled:
            self.notes_ += (f"'{self.task.target}' holds no label: every earlier label is read as missing.",)
        return in_log_order(found, self._columns(self.answer(found.rows)))

    def panels(self, rows: Tagged, truth: Tagged, answers: Mapping[str, Tags]) -> list[dict[str, Any]]:
        """Return what the report shows of single labels."""
        return tag_panels(self.task, truth, answers)

    # -- inside

    def _prepared(self, found: TagLog) -> PreparedTask:
        rows, lengths = found.rows, found.rows.histories.lengths
        n_long = int((lengths > self.data.max_length).sum())
        notes = [*found.notes]
        if n_long:
            notes.append(
                f"{n_long:,} of {len(rows):,} sequences have more than max_length={self.data.max_length:,} events and "
                "are read in windows that overlap; every event is tagged and learned exactly once."
            )
        codes, counts = np.unique(rows.labels[rows.labels >= 0], return_counts=True)
        facts = {
            "n_events": len(rows.labels),
            "n_labelled": rows.n_labelled,
            "n_sequences": len(rows),
            "labels": {rows.names[code]: int(count) for code, count in zip(codes, counts, strict=True)},
            "sizes": dict(found.encoder.events.sizes),
            "split": found.split,
        }
        rejects = found.log.rejects
        keys = found.entities.cast(pl.String).alias("key")
        return PreparedTask(found.log.source, found.encoder, rows, found.part, keys, facts, (), tuple(notes), rejects)

    def _columns(self, answer: Tags) -> list[pl.Series]:
        """Return answers as columns."""
        labels, probability = self.task.labels, answer.probability
        assert probability is not None, "the network gives probabilities"
        columns = [pl.Series("prediction", np.array(labels, dtype=object)[answer.codes].tolist(), dtype=pl.String)]
        if self.task.monitor == "auc":
            return [*columns, pl.Series("probability", probability[:, 1])]
        if self.task.scheme == "plain" and len(labels) <= _SHOWN_LABELS:
            return columns + [pl.Series(f"probability_{name}", probability[:, i]) for i, name in enumerate(labels)]
        return [*columns, pl.Series("probability", probability[np.arange(len(answer.codes)), answer.codes])]

    def _build_network(self) -> TagNetwork:
        encoder: Encoder = self.encoder_.events
        sizes = encoder.sizes
        if self.task.label_history:
            sizes = label_history_sizes(sizes, len(self.task.labels))
        words = self.encoder_.words
        if words is not None:
            inputs = Inputs(words.sizes, {}, {}, {}, specials=words.tokens.specials)
            return TagNetwork(inputs, self.backbone, self.task, use_time=False)
        use_time = self.encoder_.has_times if self.options.use_time is None else self.options.use_time
        return TagNetwork(
            replace(Inputs.of(encoder), sizes=sizes),
            self.backbone,
            self.task,
            use_time=use_time,
            value_dropout=self.options.value_dropout,
        )

    def _new_fields(self) -> list[str]:
        return [name for name in self.network_.inputs.sizes if name not in self.encoder_.events.sizes]

    def _study(self, train_rows: Tagged, validation_rows: Tagged) -> TagStudy:
        know_texts(self.network_, train_rows.histories.ids, validation_rows.histories.ids)
        return TagStudy(self.task, self._tensors(train_rows), self._tensors(validation_rows))

    def _tensors(self, rows: Tagged) -> TagTensors:
        most = self.data.max_length
        if isinstance(self.backbone, Pretrained):  # every event has a piece at least
            most = min(most, (self.backbone.n_positions or most) - _SPECIALS)
        return TagTensors.of(rows, self.task, most)

    def _refuse_parts_of_others(self) -> None:
        super()._refuse_parts_of_others()
        self.data.refuse_text()
        if self.data.words is not None and not isinstance(self.backbone, Pretrained):
            raise ConfigError(f"words= is for a pretrained encoder, and {self.name} reads fields; leave it out.")
        if isinstance(self.backbone, Pretrained) and self.task.label_history:
            raise ConfigError("label_history=true: a pretrained encoder reads words, not labels; leave it out.")

    def _check(self) -> None:
        wanted, is_causal = self.task.direction, self.backbone.is_causal
        if wanted == "past" and not is_causal:
            raise ConfigError(
                f"{self.name} reads later events, and direction='past' says that a tag depends on none of them"
                f"{', as label_history needs' if self.task.label_history else ''}; use a causal Transformer or a "
                "recurrent network with bidirectional=false, or direction='both'."
            )
        if wanted == "both" and is_causal:
            raise ConfigError(
                f"direction='both' reads later events, which {self.name} as it is set does not; use "
                "Transformer(causal=False), or bidirectional=True of a recurrent network."
            )

    def _fit_rivals(self, train_rows: Tagged, validation_rows: Tagged) -> list[Rival]:
        """Fit those that fit the labels: running rates know two, the others are for more."""
        is_binary = self.task.monitor == "auc"
        names = self.options.baselines
        if names is None:
            names = (RunningRates.name,) if is_binary else tuple(n for n in TAG_BASELINES if n != RunningRates.name)
        if not is_binary and RunningRates.name in names:
            raise ConfigError(f"'{RunningRates.name}' knows two labels; leave it out of [options] baselines.")
        rows = [self.rival_rows(part) for part in (train_rows, validation_rows)]
        fits = {name: partial(self._rival(name).fit, *rows) for name in names}
        fitted, self.rival_seconds_ = fit_timed(fits)
        return fitted

    def _rival(self, name: str) -> Rival:
        """Return a rival that may read what the network reads."""
        history, ahead = self.task.label_history, self.task.direction == "both"
        if name == RunningRates.name:
            return RunningRates(history)
        return WindowLogistic(ahead, history) if name == WindowLogistic.name else FrequentTag()

    def _judge(self, rows: Tagged, split: str, notes: Sequence[str]) -> Evaluation:
        said = f"{rows.n_labelled:,} labelled events of {len(rows):,} sequences are judged."
        return super()._judge(rows, split, [*notes, said])
