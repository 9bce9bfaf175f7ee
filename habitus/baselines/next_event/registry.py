"""All counting baselines of the next event, by name, the weakest first."""

from __future__ import annotations

from habitus.baselines.next_event.base import NextBaseline
from habitus.baselines.next_event.item_knn import WindowedItemKNN
from habitus.baselines.next_event.markov import DecayedMarkov, FirstOrderMarkov
from habitus.baselines.next_event.ngram import NGram
from habitus.baselines.next_event.popular import MostPopular, RecencyPopular

NEXT_BASELINES: dict[str, type[NextBaseline]] = {
    baseline.name: baseline
    for baseline in (MostPopular, RecencyPopular, FirstOrderMarkov, DecayedMarkov, WindowedItemKNN, NGram)
}
