"""`AnswerModel`: the words of a passage that answer a question; see `tasks/answer.py` for what is learned and judged.

table of questions -> split by passage -> tokens -> windows -> train -> threshold -> rivals -> judge

model.ask("Who wrote it?", "The play was written by Ibsen.")   -> answer, score, start, end
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from habitus.backbones.pretrained import Pretrained
from habitus.baselines.answer import ANSWER_BASELINES
from habitus.baselines.rival import Rival
from habitus.bundle import Bundle
from habitus.data.answer.options import AnswerData
from habitus.data.answer.rows import AnswerEncoder, AnswerRows
from habitus.data.answer.said import said_of
from habitus.data.answer.split import AnswerSplit
from habitus.data.answer.table import QuestionTable, read_questions
from habitus.data.answer.windows import AnswerWindows, cut_windows
from habitus.data.batch import SequenceTensors
from habitus.data.pairs.split import kept_apart
from habitus.data.rejects import Rejects
from habitus.errors import ConfigError, DataError
from habitus.evaluation import Evaluation
from habitus.metrics.answer import AnswerTruth
from habitus.model.answer_frame import answer_frame
from habitus.model.answer_options import AnswerOptions
from habitus.model.answer_panels import answer_panels
from habitus.model.task_model import TaskModel
from habitus.prepared_task import PreparedTask
from habitus.tasks.answer import Answer
from habitus.tasks.answer_decoding import Spans, best_spans
from habitus.tasks.answer_network import AnswerNetwork, window_logits
from habitus.training import Study, TrainingResult
from habitus.training.answer import AnswerStudy, span_texts, truth_of

_QUESTIONS_AT_ONCE = 4096


class AnswerModel(TaskModel, tasks=(Answer,)):
    """A `SequenceModel` that answers from passages; see there for the arguments.

    Afterwards: `threshold_`, by how much "no answer" must score more than the best answer to be given; None where the
    model never says it.

    >>> from habitus.model.base import SequenceModel
    >>> SequenceModel(Answer()).backbone.causal
    False
    """

    sources: ClassVar[tuple[str, ...]] = ("examples",)
    data_kind = AnswerData
    split_kind = AnswerSplit
    options_kind = AnswerOptions
    encoder_kind = AnswerEncoder
    rival_kinds: ClassVar[Mapping[str, type[Rival]]] = ANSWER_BASELINES
    reads_text = True

    task: Answer
    data: AnswerData
    split: AnswerSplit
    options: AnswerOptions
    encoder_: AnswerEncoder
    network_: AnswerNetwork
    threshold_: float | None

    def __init__(self, task: Answer, backbone: Any | None = None, *, data: AnswerData | None = None, **parts: Any):
        if backbone is None:
            backbone = self.backbone_from({"name": "transformer", **self.backbone_defaults(task, "transformer")})
        data = data or AnswerData()
        if isinstance(backbone, Pretrained) and isinstance(data, AnswerData):
            data = _data_for(backbone, data)
        super().__init__(task, backbone, data=data, **parts)

    @classmethod
    def backbone_defaults(cls, task: Answer, name: str, data: Any = None) -> Mapping[str, Any]:
        """Return that passages are read in both directions."""
        if name == "pretrained":
            return {}
        return {"causal": False, "time_aware": False} if name == "transformer" else {"bidirectional": True}

    # -- reading

    def prepare(self, *sources: Any) -> PreparedTask:
        """Read questions, divide them by passage, and take tokens of the training part."""
        (examples,) = sources
        tables = [read_questions(examples, self.data, self.task.target)]
        parts = [self.split.assign(tables[0].contexts)]
        for name, path in self.split.files.items():
            if path is not None:
                tables.append(read_questions(path, self.data, self.task.target))
                parts.append(np.full(len(tables[-1].golds), name))
        questions, contexts = (pl.concat([getattr(one, side) for one in tables]) for side in ("questions", "contexts"))
        part, left_out = kept_apart(contexts, np.concatenate(parts))
        is_train = pl.Series(part == "train")
        encoder = AnswerEncoder.learn(
            self.data.text_spec, pl.concat([side.rename("text").filter(is_train) for side in (questions, contexts)])
        )
        self._check_room(encoder)
        rows = encoder.encode(questions, contexts, [gold for one in tables for gold in one.golds])
        notes = [note for one in tables for note in one.notes] + said_of(rows, self.data)
        if left_out:
            notes.append(
                f"{left_out:,} questions are left out: their passage stands in the tables that judge or choose."
            )
        rejects = Rejects.together([one.rejects for one in tables])
        return PreparedTask(
            tables[0].label, encoder, rows, part, _keys(rows), self._facts(rows), (), tuple(notes), rejects
        )

    def read(self, *sources: Any) -> PreparedTask:
        """Read questions with their answers for a fitted model."""
        (examples,) = sources
        table = read_questions(examples, self.data, self.task.target)
        rows = self.encoder_.encode(table.questions, table.contexts, table.golds)
        notes, part = (*table.notes, *said_of(rows, self.data)), np.full(len(rows), "given")
        return PreparedTask(table.label, self.encoder_, rows, part, _keys(rows), notes=notes, rejects=table.rejects)

    def own_sources(self) -> tuple[str | None, ...]:
        """Return the table that judges, where the split names one; else that of the fit."""
        return (self.split.test_examples,) if self.split.test_examples else super().own_sources()

    # -- answering

    def truth(self, rows: AnswerRows) -> AnswerTruth:
        """Return the true answers."""
        return truth_of(rows)

    def answer(self, rows: AnswerRows) -> list[str]:
        """Return the model's answers to rows, "" where it says that there is none; `ask` takes texts."""
        spans = self._spans(rows)
        texts = span_texts(rows, spans)
        return ["" if no else text for no, text in zip(spans.declined(self.threshold_), texts, strict=True)]

    def predict(self, *sources: Any, k: int = 1) -> pl.DataFrame:
        """Answer a table of questions.

        Args:
            sources: the table; its column of answers need not be there.
            k: answers a question; with more than one there is a `rank`.

        Returns:
            `row` (from 1), the table's `id` if it has one, `question`, `answer` (null: there is none in the passage),
            `score` (its probability, 0 to 1), and `start` and `end`, the answer's characters: passage[start:end].
        """
        self._require_fitted()
        (examples,) = sources
        table = read_questions(examples, self.data, None)
        self.rejects_, self.notes_ = table.rejects, list(table.notes)
        return self._answered(table, k)

    def ask(self, question: str | Sequence[str], context: str | Sequence[str], *, k: int = 1) -> pl.DataFrame:
        """Answer a question, or several, from a passage, or from one each.

        Args:
            question: a text, or several.
            context: the passage that is to answer, or one for each question.
            k: answers a question.

        Returns:
            As `predict`.
        """
        questions = [question] if isinstance(question, str) else list(question)
        contexts = [context] * len(questions) if isinstance(context, str) else list(context)
        if len(questions) != len(contexts):
            raise DataError(
                f"{len(questions):,} questions and {len(contexts):,} passages; give one passage, or one each."
            )
        names = self.data.columns
        return self.predict(pl.DataFrame(dict(zip(names, (questions, contexts), strict=True))), k=k)

    def panels(self, rows: AnswerRows, truth: AnswerTruth, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return examples, and how the model does by the first word of the question."""
        return answer_panels(rows, truth, answers)

    # -- inside

    def _answered(self, table: QuestionTable, k: int) -> pl.DataFrame:
        if k < 1:
            raise ConfigError(f"k={k} asks for no answer; use 1 or more.")
        rows = self.encoder_.encode(table.questions, table.contexts, table.golds)
        return answer_frame(table.keys, rows, self._spans(rows, k), self.threshold_)

    def _spans(self, rows: AnswerRows, k: int = 1) -> Spans:
        """Return the best spans; some questions after others, so that memory does not grow with their number."""
        starts = range(0, max(len(rows), 1), _QUESTIONS_AT_ONCE)
        some = [rows.take(np.arange(one, min(one + _QUESTIONS_AT_ONCE, len(rows)))) for one in starts]
        return Spans.together([self._spans_of(one, k) for one in some])

    def _spans_of(self, rows: AnswerRows, k: int) -> Spans:
        windows = self._windows(rows)
        logits = window_logits(self.network_, SequenceTensors(windows.encoded))
        return best_spans(windows, logits, rows.context_ids.lengths, self.task.max_answer_length, k)

    def _windows(self, rows: AnswerRows) -> AnswerWindows:
        return cut_windows(rows, self.encoder_, self.data)

    def _build_network(self) -> AnswerNetwork:
        return AnswerNetwork(self.encoder_.sizes, self.backbone, value_dropout=self.options.value_dropout)

    def _study(self, train_rows: AnswerRows, validation_rows: AnswerRows) -> AnswerStudy:
        return AnswerStudy(
            self.task,
            self._windows(train_rows),
            validation_rows,
            self._windows(validation_rows),
            _knows_none(train_rows),
        )

    def _train(self, study: Study, **how: Any) -> TrainingResult:
        """Train, and choose when the model is to say that there is no answer."""
        assert isinstance(study, AnswerStudy), type(study)
        result = super()._train(study, **how)
        self.threshold_ = study.threshold(self.network_)
        return result

    def _judge(self, rows: AnswerRows, split: str, notes: Sequence[str]) -> Evaluation:
        """Say when the model answers that there is no answer."""
        found = super()._judge(rows, split, notes)
        return replace(found, protocol={**found.protocol, "no answer is given": self._when_none})

    @property
    def _when_none(self) -> str:
        if self.threshold_ is None:
            return "never"
        return f"where it scores {self.threshold_:+.2f} or more above the best one"

    def _write_card(self) -> str:
        return f'{super()._write_card().rstrip()}\n- "No answer" is given {self._when_none}.\n'

    def _check_room(self, encoder: AnswerEncoder) -> None:
        self.data.refuse_windows_without_room(sum(len(ids) for ids in encoder.around[0]))

    def _facts(self, rows: AnswerRows) -> dict[str, Any]:
        return {
            "n_questions": len(rows),
            "n_passages": rows.contexts.n_unique(),
            "n_without_answer": sum(not gold for gold in rows.golds),
            "n_tokens_of_passages": int(rows.context_ids.offsets[-1]),
            "split": self.split.sentence(),
        }

    def _refuse_parts_of_others(self) -> None:
        super()._refuse_parts_of_others()
        if not isinstance(self.backbone, Pretrained):
            self.data.refuse_tokens_without_places()

    def _check(self) -> None:
        if self.backbone.is_causal:
            raise ConfigError(
                f"{self.name} as it is set reads no later words, and an answer depends on them; use "
                "Transformer(causal=False), bidirectional=True of a recurrent network, or Pretrained(...)."
            )

    def _own_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        tensors, documents, more = super()._own_state()
        return tensors, documents, {**more, "threshold": self.threshold_}

    def _restore(self, bundle: Bundle) -> None:
        super()._restore(bundle)
        self.threshold_ = bundle.documents["model"]["threshold"]


def _data_for(backbone: Pretrained, data: AnswerData) -> AnswerData:
    """Return how data is read for a pretrained encoder, which has its own tokenizer."""
    if data.tokenizer not in (AnswerData.tokenizer, backbone.pretrained):
        raise ConfigError(
            f"tokenizer='{data.tokenizer}' is not that of the pretrained encoder '{backbone.pretrained}'; leave it out."
        )
    return replace(data, tokenizer=backbone.pretrained)


def _knows_none(rows: AnswerRows) -> bool:
    return any(not gold for gold in rows.golds)


def _keys(rows: AnswerRows) -> pl.Series:
    frame = pl.DataFrame([rows.questions.rename("question"), rows.contexts.rename("passage")])
    return frame.select(pl.concat_str(pl.all(), separator="\x1f").alias("key")).to_series()
