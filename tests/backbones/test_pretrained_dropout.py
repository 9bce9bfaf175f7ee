"""Dropout of an encoder by a pool of bits: what is dropped, and that nothing else changes."""

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

from habitus.backbones.dropout import _pool  # noqa: E402
from habitus.backbones.pretrained.dropout import PooledDropout, attention_name, use_pooled_dropout  # noqa: E402

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


def bert(attention, **options):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, **options)
    return transformers.AutoModel.from_config(config, attn_implementation=attention)


@pytest.mark.parametrize("training", [False, True])
def test_without_dropout_the_states_are_those_of_torchs_attention(training):
    shares = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    ours, theirs = bert(attention_name(), **shares), bert("eager", **shares)
    theirs.load_state_dict(ours.state_dict())
    ids, mask = torch.randint(0, 50, (3, 7)), torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    found, expected = (model.train(training)(ids, attention_mask=mask).last_hidden_state for model in (ours, theirs))
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], rtol=1e-5, atol=1e-5)


def test_attention_drops_weights_as_the_formula_says(monkeypatch):
    model = bert(attention_name(), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5).train()
    monkeypatch.setattr(torch, "randint", lambda high, size, **_: torch.tensor(11))  # the offset into the pool
    attention = model.encoder.layer[0].attention.self
    x = torch.randn(2, 5, 16)
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[1, :, :, 3:] = False
    found, _ = attention(x, attention_mask=mask)
    q, k, v = (f(x).view(2, 5, 2, 8).transpose(1, 2) for f in (attention.query, attention.key, attention.value))
    weights = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(~mask, -1e30).softmax(-1)
    kept = _pool(0.5)[11 : 11 + weights.numel()].view_as(weights)
    expected = ((weights * kept) @ v).transpose(1, 2).reshape(2, 5, 16)
    torch.testing.assert_close(found.reshape(2, 5, 16), expected, rtol=1e-5, atol=1e-5)
    assert 0.2 < float((kept == 0).float().mean()) < 0.8


def test_every_dropout_is_replaced_and_answers_in_use_stay():
    model = bert("sdpa")
    n = sum(type(one) is nn.Dropout for one in model.modules())
    ids = torch.randint(0, 50, (2, 6))
    before = model.eval()(ids).last_hidden_state
    use_pooled_dropout(model)
    assert n and sum(isinstance(one, PooledDropout) for one in model.modules()) == n
    assert not any(type(one) is nn.Dropout for one in model.modules())
    torch.testing.assert_close(model.eval()(ids).last_hidden_state, before, rtol=0, atol=0)
    assert not torch.equal(model.train()(ids).last_hidden_state, model.train()(ids).last_hidden_state)
