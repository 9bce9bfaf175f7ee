"""What a log and its examples are, and whether they give the target away; needs no torch."""

from habitus.audit.facts import describe_data
from habitus.audit.leak import Leak
from habitus.audit.leakage import find_leaks
from habitus.audit.prepared import find_prepared_leaks
from habitus.audit.text_leaks import find_text_leaks
from habitus.audit.texts import CheckedTexts, describe_texts

__all__ = [
    "CheckedTexts",
    "Leak",
    "describe_data",
    "describe_texts",
    "find_leaks",
    "find_prepared_leaks",
    "find_text_leaks",
]
