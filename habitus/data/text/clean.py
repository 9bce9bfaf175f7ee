"""Cleaning of texts before they are cut into tokens: HTML, control characters, case.

Tags become a space (`<br /><br />` stands between two sentences of a film review), entities become their characters.
A tag is `<`, perhaps `/`, a letter, and no `<` up to `>`: "a < b" and "<3" stay as they are.
"""

from __future__ import annotations

import html

import polars as pl

TAG = r"</?[A-Za-z][^<>]{0,500}>|<!--[^<>]*-->"
ENTITY = r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f]"  # NUL and its kin; tabs and line ends are spaces anyway


def cleaned(texts: pl.Series, *, clean: bool = True, lower: bool = True) -> pl.Series:
    """Return texts without tags, entities and control characters, in lower case if it is asked for; null is empty.

    Args:
        texts: String (n,).
        clean: take out HTML.
        lower: fold case.

    >>> cleaned(pl.Series(["Good<br />but &quot;long&quot;", None, "I <3 it\\x00"])).to_list()
    ['good but "long"', '', 'i <3 it ']
    """
    texts = texts.fill_null("")
    if clean:
        texts = _without_entities(texts.str.replace_all(TAG, " "))
    texts = texts.str.replace_all(_CONTROL, " ")
    return texts.str.to_lowercase() if lower else texts


def _without_entities(texts: pl.Series) -> pl.Series:
    has_any = texts.str.contains("&", literal=True)
    if not has_any.any():
        return texts
    found = pl.Series([html.unescape(text) for text in texts.filter(has_any).to_list()], dtype=pl.String)
    return texts.scatter(has_any.arg_true(), found)
