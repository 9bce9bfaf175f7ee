"""What a log and its examples are, and whether they give the target away; needs no torch."""

from habitus.audit.facts import describe_data
from habitus.audit.leak import Leak
from habitus.audit.leakage import find_leaks

__all__ = ["Leak", "describe_data", "find_leaks"]
