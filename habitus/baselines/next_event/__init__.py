"""Rivals by counting for next events, fitted beside every model."""

from habitus.baselines.next_event.base import NextBaseline
from habitus.baselines.next_event.item_knn import WindowedItemKNN
from habitus.baselines.next_event.markov import DecayedMarkov, FirstOrderMarkov
from habitus.baselines.next_event.ngram import NGram
from habitus.baselines.next_event.popular import MostPopular, RecencyPopular
from habitus.baselines.next_event.registry import NEXT_BASELINES

__all__ = [
    "NEXT_BASELINES",
    "DecayedMarkov",
    "FirstOrderMarkov",
    "MostPopular",
    "NGram",
    "NextBaseline",
    "RecencyPopular",
    "WindowedItemKNN",
]
