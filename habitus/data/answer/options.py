"""How questions and passages are read and cut; the options that travel with a model."""

from __future__ import annotations

from dataclasses import dataclass

from habitus.config import check_choice
from habitus.errors import ConfigError
from habitus.fields.text import Text

_LOCATED = ("words", "characters", "chinese")  # tokens whose place in the text is known


@dataclass(frozen=True)
class AnswerData:
    """How a table of questions is read.

    Args:
        text: the columns of the question and of the passage that holds its answer, with a comma between them.
        start: column with the character at which the answer begins in the passage, from 0. Where the table has none,
            the first place of the answer is taken.
        tokenizer: of a network from scratch: "words", "characters" or "chinese"; a pretrained encoder has its own.
        vocabulary_size: most tokens that a network from scratch knows.
        lower: fold case, of a network from scratch.
        max_length: most tokens of a window: question, passage and special ones.
        max_question_length: most tokens of a question, the first ones.
        overlap: tokens of the passage that two neighbouring windows share (the `doc_stride` of transformers).

    >>> AnswerData(text="q,passage").columns
    ('q', 'passage')
    """

    text: str = "question,context"
    start: str = "answer_start"
    tokenizer: str = "words"
    vocabulary_size: int = 30_000
    lower: bool = True
    max_length: int = 384
    max_question_length: int = 64
    overlap: int = 128

    def __post_init__(self) -> None:
        names = self.columns
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise ConfigError(
                f"text={self.text!r}: name the column of the question and that of the passage, with a comma between "
                "them, such as text='question,context' (--text)."
            )
        self.text_spec  # noqa: B018 - refuses wrong options
        if self.max_question_length < 1 or self.overlap < 0:
            raise ConfigError(
                f"max_question_length={self.max_question_length} must be 1 or more, and overlap={self.overlap} 0 or "
                "more."
            )
        self.refuse_windows_without_room(3)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the question and of the passage."""
        return tuple(name.strip() for name in self.text.split(","))

    @property
    def text_spec(self) -> Text:
        """How texts become tokens; nothing is cleaned, so that places in the text stay what they are."""
        return Text(self.tokenizer, self.vocabulary_size, lower=self.lower, clean=False)

    def refuse_windows_without_room(self, n_special: int) -> None:
        """Refuse lengths that leave a window no new tokens of the passage.

        Raises:
            ConfigError: if they do.
        """
        room = self.max_length - n_special - self.max_question_length
        if room <= self.overlap:
            raise ConfigError(
                f"max_length={self.max_length} less {self.max_question_length} tokens of a question and {n_special} "
                f"special ones leaves {max(room, 0)} for the passage, which must be more than overlap={self.overlap}; "
                "use a larger max_length, or a smaller overlap or max_question_length."
            )

    def refuse_tokens_without_places(self) -> None:
        """Refuse a tokenizer that does not say where in the text a token stands.

        Raises:
            ConfigError: if it is one of those.
        """
        check_choice("tokenizer", self.tokenizer, _LOCATED)
