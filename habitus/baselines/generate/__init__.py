"""Rivals without a network for tasks that write a sequence for a sequence."""

from habitus.baselines.generate.copying import CopySource
from habitus.baselines.generate.memory import TranslationMemory
from habitus.baselines.generate.registry import GENERATE_BASELINES

__all__ = ["GENERATE_BASELINES", "CopySource", "TranslationMemory"]
