"""All rivals of a transcriber by name, the weakest first."""

from __future__ import annotations

from habitus.baselines.rival import Rival
from habitus.baselines.transcribe.commonest import CommonestTranscript
from habitus.baselines.transcribe.nearest import NearestUtterance

SPEECH_RIVALS: dict[str, type[Rival]] = {rival.name: rival for rival in (CommonestTranscript, NearestUtterance)}
