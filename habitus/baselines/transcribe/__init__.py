"""Rivals of a transcriber: what is said most often, and what the most similar training utterance says."""

from habitus.baselines.transcribe.commonest import CommonestTranscript
from habitus.baselines.transcribe.nearest import NearestUtterance
from habitus.baselines.transcribe.registry import SPEECH_RIVALS

__all__ = ["SPEECH_RIVALS", "CommonestTranscript", "NearestUtterance"]
