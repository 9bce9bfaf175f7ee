"""What a table of texts is: counts, lengths in tokens, repeats, scripts, markup, and what its labels are like.

    texts --cut as a fit would--> tokens --> lengths, what max_length leaves out, what training texts do not teach

Texts count as equal where only case, spaces and punctuation differ: copies of a text are rarely copied to the byte.
Knows nothing about models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from habitus.audit.facts import describe_field, describe_lengths, describe_rejects, describe_split, describe_target
from habitus.data.encode import Encoder
from habitus.data.options import Data
from habitus.data.pairs.ragged import Ragged
from habitus.data.text.clean import ENTITY, TAG, cleaned
from habitus.data.text.encode import encode_columns, fit_text_encoder, text_vocabulary
from habitus.data.text.table import NUMBER, Texts
from habitus.data.text.tokens import TextVocabulary
from habitus.fields.category import UNKNOWN, as_category_strings

_GARBLED = r"\x{FFFD}|Ã[\x{0080}-\x{00BF}]|â€"  # what UTF-8 looks like, read as another encoding
_UNREAD = r"[^\p{L}\p{M}\p{N}]+"
_SCRIPTS = (
    "Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali", "Thai", "Hangul", "Hiragana",
    "Katakana", "Han",
)  # fmt: skip
_SCRIPTS_OF, _RARE_SCRIPT = 20_000, 0.001
_QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class CheckedTexts:
    """Texts and their tokens, as the parts of the check share them.

    Args:
        found: the table.
        part: part of each text, (n,); None: not divided.
        vocabulary: learned from the training part.
        tokens: ids of each text, before any cut.
        folded: each text without case, spaces and punctuation, String (n,); empty texts are null.
    """

    found: Texts
    part: np.ndarray | None
    vocabulary: TextVocabulary
    tokens: Ragged
    folded: pl.Series

    @classmethod
    def of(
        cls, found: Texts, data: Data, part: np.ndarray | None = None, encoder: Encoder | None = None
    ) -> CheckedTexts:
        """Cut texts into tokens as a fit would.

        Args:
            found: the table.
            data: how texts are cut.
            part: "train", "validation", "test" or "left-out" of each text, (n,).
            encoder: of a fit; None: one is learned from the training part.
        """
        is_train = np.ones(found.texts.height, bool) if part is None else part == "train"
        known = text_vocabulary(encoder or fit_text_encoder(found, is_train, data.text_spec))
        assert known is not None, "an encoder of texts"
        tokens, _ = encode_columns(known[1], found.texts, 2**31 - 1)
        return cls(found, part, known[1], tokens, _folded(found.texts, clean=data.clean))

    def __len__(self) -> int:
        return self.found.texts.height

    @property
    def target(self) -> pl.Series | None:
        """The answer of each text as text, or None."""
        examples = self.found.examples
        if examples.target is None:
            return None
        values = examples.frame[examples.target]
        if values.dtype.is_nested():
            return pl.Series([str(one) for one in values.to_list()], dtype=pl.String)
        return as_category_strings(values)


def describe_texts(checked: CheckedTexts, data: Data) -> dict[str, Any]:
    """Return what a table of texts is, as `habitus check --text --json` prints it.

    >>> from habitus.data.text.table import read_texts
    >>> table = pl.DataFrame({"review": ["A good film", "a good film!", "bad<br />", ""], "stars": [5, 4, 1, 3]})
    >>> found = read_texts(table, Data(text="review"), target="stars")
    >>> facts = describe_texts(CheckedTexts.of(found, Data(text="review")), Data(text="review"))
    >>> facts["texts"][0]["empty"], facts["texts"][0]["html"], facts["duplicates"]
    (1, 1, {'n': 1, 'contradicting': 2})
    """
    found, examples = checked.found, checked.found.examples
    schema, frame = examples.schema, examples.frame
    has_own = schema.entity in found.keys.columns
    return {
        "source": found.source,
        "n": len(checked),
        "entity": schema.entity if has_own else None,
        "entities": frame[schema.entity].n_unique(),
        "texts": [_column(name, found.texts[name]) for name in found.texts.columns],
        "tokens": _tokens(checked, data),
        "scripts": _scripts(found.texts),
        "duplicates": _duplicates(checked),
        "profile": [describe_field(name, spec, "profile", frame.lazy()) for name, spec in schema.profile.items()],
        "target": describe_target(examples),
        "split": describe_split(checked.part),
        "rejects": describe_rejects(examples.rejects),
        "notes": list(examples.notes),
    }


def repeated(checked: CheckedTexts) -> pl.DataFrame:
    """Return the rows whose text stands in another row too: `row`, `text`, and `answer` where there is a target."""
    frame = pl.DataFrame({"row": checked.found.keys[NUMBER], "text": checked.folded})
    if checked.target is not None:
        frame = frame.with_columns(answer=checked.target)
    return frame.drop_nulls("text").filter(pl.len().over("text") > 1)


def contradicting(checked: CheckedTexts) -> pl.DataFrame:
    """Return the repeated rows whose equals have another answer."""
    frame = repeated(checked)
    return frame.filter(pl.col("answer").n_unique().over("text") > 1) if "answer" in frame.columns else frame[:0]


def _folded(texts: pl.DataFrame, *, clean: bool) -> pl.Series:
    columns = []
    for column in texts.get_columns():
        plain = cleaned(column, clean=clean)
        bare = plain.str.replace_all(_UNREAD, " ").str.strip_chars()
        columns.append(pl.select(pl.when(bare == "").then(plain.str.strip_chars()).otherwise(bare)).to_series())
    joined = pl.DataFrame([one.alias(str(at)) for at, one in enumerate(columns)]).select(
        pl.concat_str(pl.all(), separator="\0").alias("folded")
    )
    return joined.select(pl.when(pl.col("folded").str.strip_chars("\0") != "").then("folded")).to_series()


def _column(name: str, texts: pl.Series) -> dict[str, Any]:
    filled = texts.fill_null("")
    return {
        "name": name,
        "empty": int((filled.str.strip_chars() == "").sum()),
        "html": int(filled.str.contains(f"{TAG}|{ENTITY}").sum()),
        "garbled": int(filled.str.contains(_GARBLED).sum()),
        "characters": describe_lengths(filled.str.len_chars().to_numpy()),
    }


def _tokens(checked: CheckedTexts, data: Data) -> dict[str, Any]:
    most, lengths = max(1, data.max_length // len(data.texts)) * len(data.texts), checked.tokens.lengths
    total = max(1, int(lengths.sum()))
    quantiles = {f"{share:.0%}": int(np.quantile(lengths, share)) for share in _QUANTILES} if len(lengths) else {}
    return {
        "tokenizer": data.tokenizer,
        "known": len(checked.vocabulary.values),
        "lengths": describe_lengths(lengths) | {"quantiles": quantiles},
        "max_length": data.max_length,
        "n_cut": int((lengths > most).sum()),
        "share_left_out": float(np.maximum(lengths - most, 0).sum() / total),
        "unknown": _unknown(checked),
    }


def _unknown(checked: CheckedTexts) -> float | None:
    """Return the share of tokens of texts that judge which training texts did not teach."""
    if checked.part is None:
        return None
    ids = checked.tokens.take(np.flatnonzero(np.isin(checked.part, ["validation", "test"]))).values
    return float((ids == UNKNOWN).mean()) if len(ids) else None


def _scripts(texts: pl.DataFrame) -> dict[str, float]:
    """Return the share of each script among the letters of (at most 20,000) texts, the commonest first."""
    some = pl.concat([column.alias("text") for column in texts.get_columns()]).drop_nulls()
    some = some.sample(_SCRIPTS_OF, seed=0) if len(some) > _SCRIPTS_OF else some
    counts = {name: int(some.str.count_matches(rf"\p{{{name}}}").sum() or 0) for name in _SCRIPTS}
    letters = int(some.str.count_matches(r"\p{L}").sum() or 0)
    counts["other"] = max(0, letters - sum(counts.values()))
    shares = {name: n / max(1, letters) for name, n in counts.items() if n > _RARE_SCRIPT * letters}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _duplicates(checked: CheckedTexts) -> dict[str, Any]:
    again = repeated(checked)
    return {"n": again.height - again["text"].n_unique(), "contradicting": contradicting(checked).height}
