"""Rivals without a network for answers that are words of a passage."""

from habitus.baselines.answer.commonest import CommonestAnswer
from habitus.baselines.answer.registry import ANSWER_BASELINES
from habitus.baselines.answer.sentence import SharedWords
from habitus.baselines.answer.window import SlidingWindow

__all__ = ["ANSWER_BASELINES", "CommonestAnswer", "SharedWords", "SlidingWindow"]
