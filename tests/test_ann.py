"""The index finds what scoring every item finds, and says how often it does not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from habitus.backbones import GRU
from habitus.data.next_split import NextSplit
from habitus.data.options import Data
from habitus.errors import ConfigError
from habitus.model import NextOptions, SequenceModel
from habitus.model.ann import ItemIndex, Search, without_seen
from habitus.tasks import NextEvent
from habitus.training import Training

pytest.importorskip("faiss")
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(40), 12),
            "item_id": rng.integers(0, 90, 480),
            "timestamp": [START + timedelta(hours=int(h)) for h in np.tile(np.arange(12), 40)],
        }
    )
    model = SequenceModel(
        NextEvent("item_id", when=False),
        GRU(hidden_size=8, pooling="last"),
        data=Data(max_length=10),
        split=NextSplit("leave-one-out"),
        training=Training(epochs=1, tracker=None),
        options=NextOptions(baselines=()),
    )
    return model.fit(log), log


@pytest.mark.parametrize("filter_seen", [True, False])
def test_it_recommends_what_scoring_every_item_recommends(fitted, filter_seen):
    model, log = fitted
    exact = model.recommend(log, k=5, filter_seen=filter_seen)
    found = model.recommend(log, k=5, filter_seen=filter_seen, index=model.index())
    assert found.drop("score").equals(exact.drop("score"))
    np.testing.assert_allclose(found["score"], exact["score"], atol=1e-5)


def test_recall_is_high_and_falls_with_a_narrow_search(fitted):
    model, _ = fitted
    torch.manual_seed(0)
    network = model.network_
    states = torch.randn(50, 8)
    wide, narrow = ItemIndex(network, Search()), ItemIndex(network, Search(links=2, build_width=2, search_width=2))
    assert wide.recall(states) > 0.99
    assert narrow.recall(states) < wide.recall(states)


def test_lists_that_would_fall_short_are_completed():
    ids, scores = without_seen(
        np.array([[7, 6, 5]]), np.array([[3.0, 2.0, 1.0]]), (np.array([0, 0]), np.array([7, 5])), k=2
    )
    assert ids.tolist() == [[6, 0]] and scores[0, 1] == -np.inf


def test_candidates_and_an_index_do_not_go_together(fitted):
    model, log = fitted
    with pytest.raises(ConfigError, match="not both"):
        model.recommend(log, candidates=[1], index=model.index())
