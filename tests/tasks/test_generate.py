"""The network of generated sequences: its loss against torch's, ties of embeddings, padding."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from habitus.backbones import EncoderDecoder
from habitus.data.pairs.batch import PairBatch
from habitus.data.pairs.subwords import PAD, START, UNKNOWN
from habitus.errors import ConfigError
from habitus.tasks.generate import Generate, GenerateNetwork, smoothed_loss


def network(kind="transformer", **options):
    torch.manual_seed(0)
    backbone = EncoderDecoder(kind, hidden_size=8, n_heads=2, n_layers=1, dropout=0.0)
    return GenerateNetwork(9, 11, backbone, **options)


def batch():
    source = torch.tensor([[4, 5, 6], [7, 8, PAD]])
    target = torch.tensor([[4, 10, 3], [5, 3, PAD]])
    return PairBatch(source, torch.tensor([3, 2]), target, torch.tensor([3, 2]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_loss_and_its_gradients_equal_those_of_torch(smoothing):
    torch.manual_seed(1)
    states, weight, bias = torch.randn(7, 5), torch.randn(12, 5), torch.randn(12)
    target = torch.randint(UNKNOWN, 12, (7,))
    ours, theirs = ([part.clone().requires_grad_() for part in (states, weight, bias)] for _ in range(2))
    loss = smoothed_loss(ours[0], ours[1], ours[2], target, smoothing)
    logits = F.linear(*theirs)[:, UNKNOWN:]
    expected = F.cross_entropy(logits, target - UNKNOWN, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_the_loss_is_that_of_each_target_given_the_true_ones_before_it(kind):
    model, given, total = network(kind), batch(), 0.0
    for row in range(2):
        encoded = model.encode(given.source_BT[row : row + 1, : given.lengths[row]], given.lengths[row : row + 1])
        state, last = model.start(encoded), torch.tensor([START])
        for one in given.target_BQ[row, : given.target_lengths[row]].tolist():
            logits, state = model.step(last, state)
            total -= float(logits[0, UNKNOWN:].log_softmax(-1)[one - UNKNOWN].detach())
            last = torch.tensor([one])
    assert float(model(given).detach()) == pytest.approx(total, rel=1e-5)
    assert float(model.plain_loss(given).detach()) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_padding_costs_no_loss(kind):
    model, given = network(kind, label_smoothing=0.1), batch()
    padded = PairBatch(
        F.pad(given.source_BT, (0, 3)), given.lengths, F.pad(given.target_BQ, (0, 2)), given.target_lengths
    )
    torch.testing.assert_close(model(padded), model(given))


def test_a_joint_vocabulary_shares_one_embedding():
    model = network(joint=True)
    assert model.source_embedding is model.target_embedding
    names = {name for name, _ in model.named_parameters()}
    assert "target_embedding.weight" in names and "source_embedding.weight" not in names


def test_attention_of_a_batch_is_shared_out_among_real_source_tokens():
    weights = network().eval().alignment(batch()).numpy()
    assert weights.shape == (2, 3, 3)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert (weights[1, :, 2] == 0).all()


def test_metrics_and_differences_name_the_monitor():
    task = Generate("en", "de")
    found = task.metrics(["ein Hund rennt schnell"], ["ein Hund rennt schnell"])
    assert found["bleu"].value == pytest.approx(100) and found["exact"].value == 1
    assert task.monitor in task.differences(["a b c d e"], ["a b c d e"], ["a b c d f"])


def test_a_task_survives_json():
    task = Generate("en", "de", label_smoothing=0.2, bleu_tokenizer="none")
    assert Generate.from_json(task.to_json()) == task


@pytest.mark.parametrize("options", [{"label_smoothing": 1.0}, {"bleu_tokenizer": "moses"}, {"target": "source"}])
def test_options_that_cannot_be_right_are_refused(options):
    with pytest.raises(ConfigError):
        Generate(**options)
