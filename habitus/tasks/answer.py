"""Answer: the words of a passage that answer a question, or that there are none.

    [CLS] question [SEP] passage [SEP] --backbone--> states (B,T,D) --one linear layer--> start and end scores (B,T,2)

Target: a column of answers, each in its passage. Loss: cross-entropy of the answer's first and last token among those
of the passage and [CLS], which stands for "no answer" (Devlin et al. 2019, arXiv:1810.04805, sections 4.2 and 4.3).
Decoding: `answer_decoding.py`. Differs from their code in that tokens of the question cannot be answered, and windows
that cut an answer in two are not learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from habitus.errors import ConfigError
from habitus.metrics import Interval
from habitus.metrics.answer import AnswerTruth, answer_differences, answer_metrics
from habitus.tasks.judged import JudgedTask


@dataclass(frozen=True)
class Answer(JudgedTask):
    """Mark the words of a passage that answer a question.

    Args:
        target: column of the answers: a text, a list of texts, or SQuAD's struct; an empty one says that the passage
            has none.
        max_answer_length: most tokens of an answer.
        threshold: how much more than the best answer "no answer" must score to be given, in logits; None chooses it on
            the validation part, where some questions have no answer, and always answers where all have one.

    >>> Answer().target, Answer(threshold=0.0).threshold
    ('answer', 0.0)
    """

    name: ClassVar[str] = "answer"
    monitor: ClassVar[str] = "token_f1"
    unit: ClassVar[str] = "questions"

    target: str = "answer"
    max_answer_length: int = 30
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.max_answer_length < 1:
            raise ConfigError(f"max_answer_length={self.max_answer_length} keeps no token; use 1 or more, such as 30.")

    def metrics(self, truth: AnswerTruth, answer: Sequence[str]) -> Mapping[str, Interval]:
        """Return token F1 and exact match, with intervals by a bootstrap over passages."""
        return answer_metrics(truth, answer)

    def differences(self, truth: AnswerTruth, answer: Sequence[str], other: Sequence[str]) -> Mapping[str, Interval]:
        """Return paired differences, answer minus other."""
        return answer_differences(truth, answer, other)

    def protocol(self) -> Mapping[str, Any]:
        """Say what is compared."""
        return {"an answer is right": "without case, punctuation and articles (SQuAD); intervals are over passages"}
