"""The training loop: gradients add up, the best weights are kept, a loss that is not finite stops the run."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from habitus.backbones import Transformer
from habitus.errors import TrainingError
from habitus.tasks import Classify
from habitus.training import LabelledStudy, ProgressBar, Training, score, train


class Scripted(Classify):
    """Report the given validation metrics, one an epoch."""

    script = (0.5, 0.9, 0.3, 0.9, 0.2, 0.1)

    def monitor_value(self, target, answer):
        self.calls = getattr(self, "calls", 0) + 1
        return self.script[self.calls - 1]


class Spoilt(Classify):
    """Give a NaN loss, or a NaN gradient under a finite loss, from a batch on."""

    first, what = 13, "loss"

    def loss(self, outputs, target):
        losses = super().loss(outputs, target)
        self.calls = getattr(self, "calls", 0) + outputs.requires_grad
        if self.calls < self.first or not outputs.requires_grad:
            return losses
        return losses * float("nan") if self.what == "loss" else losses + (outputs[:, 0] * 0).sqrt()


class Diverging(Spoilt):
    what = "gradient"


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_training_learns(tiny):
    _, result = tiny.run(epochs=12)
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] - 0.1
    assert result.history[-1]["validation_metric"] > 0.8


def one_step(tiny, batch_rows=24, accumulate=1, n=24):
    """Return the weights after the single step of an epoch over rows of equal length."""
    task, rows = tiny.task(), tiny.rows(n, length=4)
    network = tiny.network(task, dropout=False)
    options = {
        "epochs": 1,
        "batch_rows": batch_rows,
        "accumulate": accumulate,
        "optimizer": "sgd",
        "learning_rate": 0.5,
    }
    result = train(network, LabelledStudy(task, rows, rows), Training(**(tiny.OPTIONS | options)))
    assert result.history[-1]["step"] == 1
    return torch.cat([value.flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize(("batch_rows", "accumulate"), [(12, 2), (8, 3), (10, 3), (5, 5), (23, 2)])
def test_accumulated_batches_equal_one_step(tiny, batch_rows, accumulate):
    """Also where the batches hold unequal numbers of rows."""
    torch.testing.assert_close(one_step(tiny, batch_rows, accumulate), one_step(tiny), atol=1e-5, rtol=1e-4)


def test_a_step_on_half_of_the_rows_would_be_noticed(tiny):
    assert (one_step(tiny, n=12) - one_step(tiny)).abs().max() > 1e-3


def test_the_same_seed_gives_the_same_weights_whatever_ran_before(tiny):
    first, _ = tiny.run(epochs=2)
    torch.rand(17)
    np.random.rand(3)
    assert tiny.digest(tiny.run(epochs=2)[0]) == tiny.digest(first)
    assert tiny.digest(tiny.run(epochs=2, seed=1)[0]) != tiny.digest(first)


def test_early_stopping_leaves_the_best_weights(tiny):
    seen, task = {}, tiny.task(Scripted)
    network = tiny.network(task)
    watch = tiny.Watch(epoch=lambda record: seen.update({record["epoch"]: weights(network)}))
    training = Training(**(tiny.OPTIONS | {"patience": 3, "epochs": 6, "average": 0.0}))
    result = train(network, LabelledStudy(task, tiny.rows(), tiny.rows(16, seed=1)), training, callbacks=[watch])
    assert list(seen) == [1, 2, 3, 4, 5] and result.best_epoch == 2  # an equal metric later is not better
    assert same(weights(network), seen[2]) and not same(weights(network), seen[5])
    assert [record["is_best"] for record in result.history] == [True, True, False, False, False]
    assert not network.training


def test_an_early_stop_is_remembered(tiny, tmp_path):
    first, result = tiny.run(tmp_path, of=tiny.task(Scripted), patience=1)
    assert [record["epoch"] for record in result.history] == [1, 2, 3]
    watch = tiny.Watch()
    again, _ = tiny.run(tmp_path, of=tiny.task(Scripted), patience=1, resume=True, callbacks=[watch])
    assert watch.number == 0 and tiny.digest(again) == tiny.digest(first)


def test_the_average_of_the_weights_is_what_a_loop_gives(tiny):
    task, seen = tiny.task(), []
    network = tiny.network(task)
    start = weights(network)
    watch = tiny.Watch(batch=lambda number: seen.append(weights(network)))
    training = Training(**(tiny.OPTIONS | {"epochs": 1, "average": 0.6}))
    train(network, LabelledStudy(task, tiny.rows(), tiny.rows(16, seed=1)), training, callbacks=[watch])
    for name, value in start.items():
        for number, step in enumerate(seen, start=1):
            share = min(0.6, number / (number + 10))
            value = share * value + (1 - share) * step[name]
        torch.testing.assert_close(network.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def finite(folder):
    tensors = load_file(folder / "checkpoint" / "state.safetensors")
    return all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point())


@pytest.mark.parametrize("first", [1, 13, 15])  # at once, within an epoch, at the end of one
def test_a_loss_that_is_not_finite_stops_the_run(tiny, tmp_path, monkeypatch, first):
    monkeypatch.setattr(Spoilt, "first", first)
    watch = tiny.Watch()
    with pytest.raises(TrainingError, match=r"The loss is nan in epoch \d, batch \d; .* Lower learning_rate"):
        tiny.run(tmp_path, of=tiny.task(Spoilt), checkpoint_every_s=0.0, callbacks=[watch])
    assert watch.number == first - 1 and watch.ended == 1
    assert first == 1 or finite(tmp_path)


@pytest.mark.parametrize("first", [13, 15, 30])  # within an epoch, at the end of one, in the last batch of all
def test_a_gradient_that_is_not_finite_spoils_no_checkpoint(tiny, tmp_path, monkeypatch, first):
    """The loss is still finite in the step that spoils the weights; what is kept must be from before it."""
    monkeypatch.setattr(Diverging, "first", first)
    with pytest.raises(TrainingError):
        tiny.run(tmp_path, of=tiny.task(Diverging), checkpoint_every_s=0.0)
    assert finite(tmp_path)


def test_a_validation_part_of_one_class_does_not_stop_the_choice(tiny):
    """Its AUC does not exist: the run must say so or choose by what does exist, not keep the first epoch in silence."""
    task, rows = tiny.task(), tiny.rows(16, seed=1)
    rows.target.zero_()
    network = tiny.network(task)
    try:
        result = train(network, LabelledStudy(task, tiny.rows(), rows), Training(**(tiny.OPTIONS | {"patience": 2})))
    except TrainingError as error:
        assert "validation" in str(error)
        return
    best = min(result.history, key=lambda record: record["validation_loss"])
    assert result.best_epoch == best["epoch"]


def test_callbacks_see_every_batch_and_every_epoch(tiny):
    records = []
    watch = tiny.Watch(epoch=records.append)
    _, result = tiny.run(callbacks=[watch])
    assert watch.number == watch.facts["n_batches"] * watch.facts["epochs"] == 30
    assert watch.facts["position"] == 0 and watch.facts["n_train"] == 40
    assert records == result.history and watch.ended == 1
    assert result.parameters == sum(value.numel() for value in tiny.network().parameters())


def test_the_train_loss_is_the_mean_over_rows(tiny):
    task, rows = tiny.task(), tiny.rows()
    network = tiny.network(task, dropout=False)
    with torch.no_grad():
        expected = task.loss(network.eval()(rows.gather(np.arange(40))), rows.target).mean().item()
    training = Training(**(tiny.OPTIONS | {"epochs": 1, "learning_rate": 1e-12}))
    result = train(network, LabelledStudy(task, rows, rows), training)
    assert result.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert result.history[0]["validation_loss"] == pytest.approx(expected, rel=1e-5)


def test_scores_come_in_the_order_of_the_rows(tiny):
    network, rows = tiny.run(epochs=1)[0], tiny.rows()
    with torch.no_grad():
        alone = torch.cat([network(rows.gather([row])) for row in range(40)]).numpy()
    for budget in ({}, {"batch_rows": 3}, {"batch_tokens": 10}):
        np.testing.assert_allclose(score(network, rows, **budget), alone, atol=1e-5)


def test_half_precision_trains_close_to_full(tiny):
    backbone = Transformer(hidden_size=8, n_heads=2, n_layers=1)
    half = tiny.run(backbone=backbone, precision="bf16", epochs=2)[1].history[-1]
    full = tiny.run(backbone=backbone, precision="fp32", epochs=2)[1].history[-1]
    assert half["train_loss"] == pytest.approx(full["train_loss"], abs=0.05)
    assert half["train_loss"] != full["train_loss"]


def test_the_progress_bar_writes_to_stderr_only(tiny, capsys):
    tiny.run(epochs=2, callbacks=[ProgressBar()])
    printed = capsys.readouterr()
    assert printed.out == "" and "epoch  2  train loss" in printed.err and "(best)" in printed.err


@pytest.mark.slow
def test_tensorboard_logs_lie_in_the_folder(tiny, tmp_path):
    tiny.run(tmp_path, epochs=1, tracker="tensorboard")
    assert list((tmp_path / "logs").rglob("events.out.tfevents*"))
