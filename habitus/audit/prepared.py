"""The leak check of what a fit has prepared, before it trains on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from habitus.audit.leak import Leak
from habitus.audit.leakage import find_leaks
from habitus.audit.text_leaks import find_text_leaks
from habitus.audit.texts import CheckedTexts

if TYPE_CHECKING:  # it knows tasks, and they torch
    from habitus.data.options import Data
    from habitus.prepared import Prepared


def find_prepared_leaks(prepared: Prepared, data: Data) -> list[Leak]:
    """Look for what gives the target away in a log and its examples, or in a table of texts; warnings come first.

    Args:
        prepared: read, divided and encoded.
        data: how it was read.
    """
    if prepared.texts is None:
        return find_leaks(prepared.log, prepared.examples, prepared.part)
    return find_text_leaks(CheckedTexts.of(prepared.texts, data, prepared.part, prepared.encoder))
