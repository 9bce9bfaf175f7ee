"""All rivals of answers, by name, the weakest first."""

from __future__ import annotations

from habitus.baselines.answer.commonest import CommonestAnswer
from habitus.baselines.answer.sentence import SharedWords
from habitus.baselines.answer.window import SlidingWindow
from habitus.baselines.rival import Rival

ANSWER_BASELINES: dict[str, type[Rival]] = {
    rival.name: rival for rival in (CommonestAnswer, SharedWords, SlidingWindow)
}
