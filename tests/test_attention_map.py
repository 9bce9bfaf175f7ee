"""The attention of a head beside the same computed by hand, from scratch and pretrained."""

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F

import habitus as hb
from habitus.backbones.pretrained import Pretrained
from habitus.model.attention_map import START, Watch, attention_of
from habitus.training import Training
from tests.tiny_bert import tiny_bert

QUICK = Training(epochs=1, threads=1, tracker=None)
TEXTS = pl.DataFrame({"text": [f"good film a tea number {n}" for n in range(40)]})


def fitted(backbone):
    options = hb.EmbedOptions(baselines=())
    return hb.SequenceModel(
        hb.Embed(), backbone, data=hb.Data(text="text", max_length=32), options=options, training=QUICK
    ).fit(TEXTS)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_the_weights_explain_what_attention_gives(dtype):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 8).unbind(0)
    mask = torch.tensor([True, True, True, False, False]).expand(2, 1, 5, 5)
    mask = mask if dtype == torch.bool else torch.zeros(2, 1, 5, 5).masked_fill(~mask, float("-inf"))
    with Watch() as watch:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(watch.seen[0] @ v, out)


def test_a_transformer_is_looked_at_head_by_head():
    model = fitted(hb.Transformer(hidden_size=8, n_layers=2, n_heads=2, causal=False, time_aware=False, pooling="mean"))
    tokens, weights = attention_of(model, "Good tea.", layer=0, head=1)
    assert tokens == [START, "good", "tea", "."] and weights.shape == (4, 4)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert not np.allclose(weights, attention_of(model, "Good tea.", layer=1, head=1)[1])
    with pytest.raises(hb.ConfigError, match="there are 2 layers and 2 heads"):
        attention_of(model, "Good tea.", head=2)
    assert any(panel["title"] == "What a head attends to" for panel in model.evaluation_.panels)


def test_a_pretrained_encoder_is_looked_at_with_its_own_tokens(tmp_path):
    pytest.importorskip("transformers")
    model = fitted(Pretrained(tiny_bert(tmp_path / "bert"), frozen=True))
    tokens, weights = attention_of(model, "good tea")
    assert tokens == ["[CLS]", "good", "tea", "[SEP]"] and np.allclose(weights.sum(1), 1, atol=1e-5)


def test_a_recurrent_network_does_not_attend():
    with pytest.raises(hb.ConfigError, match="does not attend"):
        attention_of(fitted(hb.GRU(hidden_size=8, pooling="mean")), "good tea")
