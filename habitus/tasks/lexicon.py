"""The words that a decoder may write, as a tree of their characters (a trie)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Place:
    """A place within a word: what may come next, and whether a word is complete here."""

    following: dict[int, Place] = field(default_factory=dict)
    is_complete: bool = False


class Lexicon:
    """Texts that are made of given words, one space between two of them.

    Args:
        words: each as the numbers of its characters; at least one character.
        space: number of the space; None: a text is one word.

    >>> lexicon = Lexicon([[1, 2], [1, 2, 3]], space=9)
    >>> place = lexicon.after([1, 2])
    >>> sorted(lexicon.following(place)), lexicon.is_text(place)
    ([3, 9], True)
    """

    def __init__(self, words: Iterable[Sequence[int]], space: int | None) -> None:
        self.start, self._space = Place(), space
        for word in words:
            place = self.start
            for character in word:
                place = place.following.setdefault(character, Place())
            place.is_complete = True

    def following(self, place: Place) -> Mapping[int, Place]:
        """Return the characters that may come after a place, and where each leads."""
        if place.is_complete and self._space is not None:
            return {**place.following, self._space: self.start}
        return place.following

    def is_text(self, place: Place) -> bool:
        """Say whether a text may end here: after a word, or between two."""
        return place.is_complete or place is self.start

    def after(self, text: Sequence[int]) -> Place:
        """Return the place after a text that is made of these words.

        Raises:
            KeyError: if it is not.
        """
        place = self.start
        for character in text:
            place = self.following(place)[character]
        return place
