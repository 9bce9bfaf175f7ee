"""All rivals of generated sequences, by name, the weakest first."""

from __future__ import annotations

from habitus.baselines.generate.copying import CopySource
from habitus.baselines.generate.memory import TranslationMemory
from habitus.baselines.rival import Rival

GENERATE_BASELINES: dict[str, type[Rival]] = {rival.name: rival for rival in (CopySource, TranslationMemory)}
