"""The words of questions and passages as counting rivals read them, with their places; and sentences."""

from __future__ import annotations

import re

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|(?:(?![\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])\w)+")
_SENTENCE = re.compile(r"[^.!?\n。！？]+[.!?。！？]*")


def placed_words(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the words of a text in lower case, and their characters; a Chinese or Japanese character is a word.

    >>> placed_words("Ann won 在")
    (['ann', 'won', '在'], [(0, 3), (4, 7), (8, 9)])
    """
    found = list(_WORD.finditer(text))
    return [one.group().lower() for one in found], [one.span() for one in found]


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the characters of each sentence: what stands up to a full stop, a question mark or a line's end.

    >>> sentences("He came. Who?")
    [(0, 8), (9, 13)]
    """
    found = []
    for one in _SENTENCE.finditer(text):
        written = one.group()
        start = one.start() + len(written) - len(written.lstrip())
        if written.strip():
            found.append((start, start + len(written.strip())))
    return found
