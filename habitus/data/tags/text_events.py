"""Tagged text as a log of events: one event a token, one entity a sentence.

    token TAB tag          CoNLL and BIO files: a token a line, its tag in the last column, a blank line between two
                           sentences
    token tag ... / label  the same with a last line of one word, which is the label of the whole sentence
    字0 TAB tag             a character a line, with its place within its word

What helps with words that training never saw is derived as fields: lower case, prefixes, suffixes and the shape of a
word; for single characters the pairs with their neighbours. Times are made up: a second a token, which says the order.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from habitus.data.rejects import Reject
from habitus.errors import DataError

TEXT_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".txt", ".train", ".dev", ".test")
TAG, SENTENCE_LABEL = "tag", "sentence_label"
_BIO = re.compile(r"[BI]-.+")
_START = datetime(2000, 1, 1, tzinfo=UTC)
_PARTS = {"train": "train", "dev": "validation", "valid": "validation", "val": "validation", "test": "test"}
_MOST_SHOWN = 3
_CHARACTERS = 0.9  # of tokens that are one character long: the text has no words

Sentence = list[list[str]]


@dataclass(frozen=True)
class TextEvents:
    """Tokens as a table of events, and sentences to say aloud."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()


def find_text(source: Any) -> list[Path]:
    """Return the files of tagged text that a source names: a file, a folder or a glob; empty if it names none.

    >>> find_text("installs.parquet")
    []
    """
    if not isinstance(source, str | Path) or "://" in str(source):
        return []
    path = Path(source)
    if path.is_dir():
        named = sorted(path.iterdir())
    else:
        named = [path] if path.suffix in TEXT_ENDINGS else [Path(one) for one in sorted(glob.glob(str(source)))]
    return [one for one in named if one.suffix in TEXT_ENDINGS]


def looks_like_bio(source: Any) -> bool:
    """Say whether the first sentences of a source of tagged text hold tags such as B-name."""
    for file in find_text(source)[:1]:
        for number, (_, sentence) in enumerate(_sentences(file)):
            if any(_BIO.fullmatch(line[-1]) for line in sentence if len(line) > 1):
                return True
            if number > 200:
                return False
    return False


def read_text(files: Sequence[Path], *, look_ahead: bool = True) -> TextEvents:
    """Read tagged text.

    Args:
        files: in reading order; where every name says train, dev or test, a column `split` says so too.
        look_ahead: derive fields that look at the next token.

    Returns:
        Columns `sentence_id` (file and number), `timestamp`, `token`, `tag` (where the files have one), `split` and
        `sentence_label` where there are any, further columns of the files as `column_2` on, and the derived fields.

    Raises:
        DataError: if a file cannot be read, or a line has no tag where others have one.
    """
    parts = [_part(file) for file in files]
    kept: dict[str, list[Any]] = {name: [] for name in ("sentence_id", "split", "line", SENTENCE_LABEL)}
    n_labels, first_label = 0, ""
    tagged = _is_tagged(files)
    for file, part in zip(files, parts, strict=True):
        for number, (line, sentence) in enumerate(_sentences(file), start=1):
            label = _label_of(sentence) if tagged else None
            tokens = sentence[:-1] if label is not None else sentence
            _refuse_bare_tokens(tokens, file, line, tagged=tagged)
            kept["line"] += tokens
            kept["sentence_id"] += [f"{file.name}:{number}"] * len(tokens)
            kept["split"] += [part] * len(tokens)
            kept[SENTENCE_LABEL] += [label] * len(tokens)
            n_labels, first_label = n_labels + (label is not None), first_label or label or ""
    if not kept["line"]:
        raise DataError(f"{', '.join(str(file) for file in files)} hold no token; give a token and its tag a line.")
    frame = _columns(kept, tagged=tagged)
    frame = frame.drop([name for name in ("split", SENTENCE_LABEL) if frame[name].null_count() == frame.height])
    if "split" in frame.columns and frame["split"].null_count():
        frame = frame.drop("split")
    notes = _notes(files, frame, n_labels, first_label)
    return TextEvents(with_derived_fields(frame, look_ahead=look_ahead), tuple(notes))


def with_derived_fields(frame: pl.DataFrame, *, look_ahead: bool = True) -> pl.DataFrame:
    """Add fields that say something of tokens which training never saw.

    >>> frame = pl.DataFrame({"sentence_id": ["a", "a"], "token": ["Dr", "Who7"]})
    >>> with_derived_fields(frame).columns[2:]
    ['lower', 'prefix_2', 'prefix_3', 'suffix_2', 'suffix_3', 'shape']
    >>> with_derived_fields(frame)["shape"].to_list()
    ['Xx', 'Xxd']
    """
    token = pl.col("token")
    if (frame["token"].str.len_chars() == 1).mean() >= _CHARACTERS:  # type: ignore[operator]
        before = token.shift(1).over("sentence_id").fill_null("^") + token
        after = token + token.shift(-1).over("sentence_id").fill_null("$")
        return frame.with_columns([before.alias("pair_before"), *([after.alias("pair_after")] if look_ahead else [])])
    lower = token.str.to_lowercase()
    ends = [lower.str.head(n).alias(f"prefix_{n}") for n in (2, 3)]
    ends += [lower.str.tail(n).alias(f"suffix_{n}") for n in (2, 3)]
    return frame.with_columns([lower.alias("lower"), *ends, _shape(token).alias("shape")])


def _shape(token: pl.Expr) -> pl.Expr:
    """Return capitals as X, small letters as x, digits as d, runs of one kind cut to one character."""
    kinds = token.str.replace_all(r"\p{Lu}+", "X").str.replace_all(r"\p{Ll}+", "x")
    return kinds.str.replace_all(r"\p{Nd}+", "d")


def _columns(kept: dict[str, list[Any]], *, tagged: bool) -> pl.DataFrame:
    lines = kept["line"]
    width = min(len(line) for line in lines)
    tokens = [line[0] for line in lines]
    columns: dict[str, Any] = {"sentence_id": kept["sentence_id"], "token": tokens}
    if all(len(token) > 1 and token[-1].isdigit() for token in tokens):
        columns |= {"token": [token[:-1] for token in tokens], "place_in_word": [token[-1] for token in tokens]}
    n_more = width - (2 if tagged else 1)
    columns |= {f"column_{i}": [line[i - 1] for line in lines] for i in range(2, 2 + n_more)}
    columns |= {TAG: [line[-1] for line in lines]} if tagged else {}
    columns |= {"split": kept["split"], SENTENCE_LABEL: kept[SENTENCE_LABEL]}
    frame = pl.DataFrame(columns, schema_overrides={"split": pl.String, SENTENCE_LABEL: pl.String})
    second = pl.lit(_START) + pl.duration(seconds=pl.int_range(pl.len()))
    return frame.with_columns(second.alias("timestamp"))


def _sentences(file: Path) -> Iterator[tuple[int, Sentence]]:
    """Yield the number of its first line, and the columns of every line, of each sentence."""
    sentence: Sentence = []
    started = 1
    try:
        text = file.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"'{file}' cannot be read ({error.strerror}); give a file of tagged text.") from error
    for number, line in enumerate(text.split("\n"), start=1):
        columns = line.rstrip("\r").split("\t") if "\t" in line else line.split()
        if not line.strip() or columns[0] == "-DOCSTART-":
            if sentence:
                yield started, sentence
            sentence, started = [], number + 1
        else:
            sentence.append([column.strip() for column in columns])
    if sentence:
        yield started, sentence


def _is_tagged(files: Sequence[Path]) -> bool:
    return any(len(line) > 1 for file in files for _, sentence in _sentences(file) for line in sentence)


def _label_of(sentence: Sentence) -> str | None:
    """Return the one word of a last line, which is the label of the sentence."""
    return sentence[-1][0] if len(sentence) > 1 and len(sentence[-1]) == 1 and len(sentence[-2]) > 1 else None


def _refuse_bare_tokens(tokens: Sentence, file: Path, line: int, *, tagged: bool) -> None:
    for number, columns in enumerate(tokens, start=line):
        if tagged and len(columns) < 2:
            bad = Reject(str(file), number, "tag", repr(" ".join(columns)), "has a token and no tag")
            raise DataError(f"{bad.sentence()}; write token, TAB and tag, and a blank line between sentences.")


def _part(file: Path) -> str | None:
    words = re.split(r"[^a-z]+", file.name.lower())
    return next((_PARTS[word] for word in reversed(words) if word in _PARTS), None)


def _notes(files: Sequence[Path], frame: pl.DataFrame, n_labels: int, first_label: str) -> list[str]:
    n = frame["sentence_id"].n_unique()
    notes = [f"{frame.height:,} tokens of {n:,} sentences are read as events; their times only say the order."]
    if "split" in frame.columns:
        shown = ", ".join(file.name for file in files[:_MOST_SHOWN])
        notes.append(f"The names of the files ({shown}) say which sentences train, choose and judge.")
    if n_labels:
        notes.append(
            f"{n_labels:,} sentences end with a line of one word, such as {first_label!r}: the label of the sentence, "
            "which is not read."
        )
    return notes
