"""How a log is read and cut: the options that travel with a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from habitus.config import check_choice
from habitus.data.sequence import History
from habitus.errors import ConfigError
from habitus.fields.text import Text


@dataclass(frozen=True)
class Data:
    """Options of reading a log and cutting its histories. What is None is inferred from the log.

    Args:
        entity: column of the entity.
        time: column of the timestamp.
        time_zone: zone of naive timestamps; without it they are refused.
        time_unit: unit of timestamps that are plain numbers.
        cutoff: column of the examples table.
        fields: meaning of columns by name, `"category"`, `"number"`, or with options
            (`{"kind": "number", "log": True}`, `Number(log=True)`); only the named ones differ from what is inferred.
        drop: event or profile columns to leave out.
        max_length: most events in a row.
        history: "latest" keeps the latest `max_length` events of a longer history; "windows" covers all of it with
            several rows, whose answers are averaged.
        text: column of the examples that holds a text to be read in place of a log, one row of tokens each; two columns
            with a comma between them are read one after the other. Of a long text the first `max_length` tokens are
            read.
        words: fields of the log whose values are written out as words, with commas between their names: each example's
            events become a text, the latest event first; a tagger with a pretrained encoder reads them event by event.
        tokenizer: how texts are cut: "words", "subwords", "characters", "chinese" (words by jieba), or the name or
            folder of a pretrained encoder.
        vocabulary_size: most tokens that are known.
        token_pairs: most pairs of neighbouring tokens that are read beside the tokens, such as 50000; 0: none.
        lower: fold upper case to lower case.
        clean: take HTML tags out of texts and turn entities into characters.

    >>> Data(max_length=256).history, Data(text="title,review").texts
    ('latest', ('title', 'review'))
    """

    entity: str | None = None
    time: str | None = None
    time_zone: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    cutoff: str = "cutoff"
    fields: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    max_length: int = 512
    history: History = "latest"
    text: str | None = None
    words: str | None = None
    tokenizer: str = "words"
    vocabulary_size: int = 30_000
    token_pairs: int = 0
    lower: bool = True
    clean: bool = True

    def __post_init__(self) -> None:
        self.text_spec  # noqa: B018 - refuses wrong options
        check_choice("history", self.history, get_args(History))
        if self.max_length < 1:
            raise ConfigError(f"max_length={self.max_length} keeps no event; use 1 or more.")
        if self.text is not None and not (self.texts and all(self.texts)):
            raise ConfigError(f"text={self.text!r} names no column; give one, such as text='review'.")
        if self.text is not None and self.words is not None:
            raise ConfigError("text= reads texts in place of a log, words= writes out the events of a log; use one.")
        if self.words is not None and not all(self.word_fields):
            raise ConfigError(f"words={self.words!r} names no field; give one of the log, such as words='action'.")
        if self.reads_text and self.history != "latest":
            raise ConfigError("history='windows' cuts the histories of a log; a text is read up to max_length tokens.")

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns of texts; none where a log is read."""
        return () if self.text is None else tuple(name.strip() for name in self.text.split(","))

    @property
    def word_fields(self) -> tuple[str, ...]:
        """Fields whose values are written out as words."""
        return () if self.words is None else tuple(name.strip() for name in self.words.split(","))

    @property
    def reads_text(self) -> bool:
        """Whether an example is a text: one of its own, or its events written out."""
        return self.text is not None or self.words is not None

    @property
    def text_spec(self) -> Text:
        """How texts are read."""
        return Text(
            self.tokenizer,
            self.vocabulary_size,
            lower=self.lower,
            clean=self.clean,
            token_pairs=self.token_pairs,
        )

    def refuse_sources(self, events: Any) -> None:
        """Refuse a log beside texts, and neither of them.

        Raises:
            ConfigError: if both or neither are given.
        """
        if self.text is not None and events is not None:
            raise ConfigError(
                f"text={self.text!r} reads the table of examples alone, so that a log has no place beside it: leave "
                "out events (--events) or text (--text)."
            )
        if self.text is None and events is None:
            raise ConfigError(
                "Nothing says what is to be read: give a log (--events), or the column of the examples that holds a "
                "text (--text; in Python data=Data(text='review'))."
            )

    def refuse_text(self) -> None:
        """Refuse a text column where only a log can be read."""
        if self.text is not None:
            raise ConfigError(f"text={self.text!r} is for tasks whose examples carry a text; this one reads a log.")
