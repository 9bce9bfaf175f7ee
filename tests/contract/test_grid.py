"""Every backbone with every task of labelled examples: fit, predict, save, load, same answer, pads ignored, the future
unseen. Tasks whose target is in the log itself are in `test_next_grid.py`, with the same promises.

A new part joins by being registered in `habitus.model`; a new task names its targets in `TARGETS`.
"""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from habitus.backbones import CNN, GRU, LSTM, RNN, Transformer
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.fields import Category
from habitus.model import BACKBONES, TASKS, LabelledModel, Options, SequenceModel, load
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)
CUTOFF = START + timedelta(days=90)
TARGETS = {
    "classify": {"two classes": "risk", "three classes": "segment", "labels": ("late", "gone")},
    "regress": {"mean": "spent", "mean of logs": "spent", "median": "spent", "quantiles": "spent"},
}
OPTIONS = {
    "mean of logs": {"log": True},
    "median": {"loss": "absolute"},
    "quantiles": {"loss": "quantile", "quantiles": (0.25, 0.5, 0.9), "log": True},
}
GRID = [
    pytest.param(backbone, task, (target, case), id=f"{backbone}-{task}-{case}")
    for backbone in BACKBONES
    for task, kind in SequenceModel.kinds.items()
    if kind is LabelledModel
    for case, target in TARGETS.get(task, {"no target": None}).items()
]
VARIANTS = {
    "windowed transformer": Transformer(hidden_size=8, window=3),
    "windowed transformer both ways": Transformer(hidden_size=8, window=2, causal=False, position="learned"),
    **{f"{kind.__name__.lower()} both ways": kind(hidden_size=8, bidirectional=True) for kind in (CNN, GRU, LSTM, RNN)},
}
GRID += [
    pytest.param(name, "classify", ("risk", "two classes"), id=f"{name}-classify-two classes") for name in VARIANTS
]
BODIES = {name: kind(hidden_size=8) for name, kind in BACKBONES.items()} | VARIANTS


def make(n=72, seed=0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), np.arange(n) % 8)  # entity 0 has no event
    segment = np.arange(n) * 7 % 3
    log = pl.DataFrame(
        {
            "user_id": [f"user {entity}" for entity in who],
            "timestamp": [START + timedelta(minutes=m) for m in rng.permutation(90 * 1440)[: len(who)].tolist()],
            "item": np.where(rng.random(len(who)) < 0.5, segment[who].astype(str), rng.choice(["x", "y"], len(who))),
            "amount": rng.normal(size=len(who)),
        }
    )
    return log, pl.DataFrame(
        {
            "user_id": [f"user {entity}" for entity in range(n)],
            "cutoff": [CUTOFF] * n,
            "segment": np.array(["a", "b", "c"])[segment],
            "risk": (segment == 1).astype(int),
            "late": (segment != 0).astype(int),
            "gone": rng.integers(0, 2, n),
            "spent": np.round(rng.lognormal(1 + segment), 2) * (np.arange(n) % 5 > 0),
            "age": rng.normal(40, 9, n),
            "region": rng.choice(["north", "south"], n),
        }
    )


def columns_of(case):
    target, _ = case
    return [target] if isinstance(target, str) else list(target)


@pytest.fixture(scope="module")
def fitted():
    """Return a function that fits each pair once."""
    known = {}

    def of(backbone, task, target):
        name, case = target
        if name is None:
            pytest.fail(f"Task '{task}' is registered, but TARGETS in this file names no target for it.")
        if (backbone, task, target) not in known:
            log, examples = make()
            examples = examples.select("user_id", "cutoff", *columns_of(target), "age", "region")
            model = SequenceModel(
                TASKS[task](name, **OPTIONS.get(case, {})),
                BODIES[backbone],
                data=Data(fields={"item": Category(min_count=1)}),
                split=Split(validation=0.25, test=0.25),
                training=Training(epochs=2, batch_rows=16, learning_rate=0.01, tracker=None, device="cpu"),
                options=Options(baselines=()),
            )
            known[backbone, task, target] = model.fit(log, examples), log, examples
        return known[backbone, task, target]

    return of


def answers(model, *tables):
    """Return all numbers of the answer, (n, columns)."""
    return model.predict(*tables).select(pl.selectors.float()).to_numpy()


@pytest.mark.parametrize(("backbone", "task", "target"), GRID)
def test_it_trains_answers_and_is_judged(fitted, backbone, task, target):
    model, log, examples = fitted(backbone, task, target)
    found = answers(model, log, examples)
    assert found.shape[0] == 72 and found.shape[1] >= 1 and np.isfinite(found).all()
    assert found.std(0).max() > 1e-4  # it reads its input
    assert len(model.history_) == 2 and all(np.isfinite(record["train_loss"]) for record in model.history_)
    assert model.evaluation_.n == 18 and model.evaluation_.metrics


@pytest.mark.parametrize(("backbone", "task", "target"), GRID)
def test_saved_and_loaded_it_gives_the_same_bits(fitted, tmp_path, backbone, task, target):
    model, log, examples = fitted(backbone, task, target)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.predict(log, examples).equals(model.predict(log, examples))
    assert again.evaluate(log, examples).to_json() == model.evaluate(log, examples).to_json()


@pytest.mark.parametrize(("backbone", "task", "target"), GRID)
def test_padding_and_company_change_nothing(fitted, backbone, task, target):
    model, log, examples = fitted(backbone, task, target)
    whole = answers(model, log, examples)
    for rows in ([0], [7], [1, 7, 0, 15], [71, 3]):
        assert np.abs(answers(model, log, examples[rows]) - whole[rows]).max() <= 1e-5


@pytest.mark.parametrize(("backbone", "task", "target"), GRID)
def test_the_future_is_unseen(fitted, backbone, task, target):
    model, log, examples = fitted(backbone, task, target)
    future = examples.select("user_id", timestamp=pl.col("cutoff"), item=pl.lit("1"), amount=pl.lit(9.0))
    assert (answers(model, pl.concat([future, log]), examples) == answers(model, log, examples)).all()
    past = future.with_columns(pl.col("timestamp") - timedelta(microseconds=1))
    assert (answers(model, pl.concat([past, log]), examples) != answers(model, log, examples)).any(1).all()


@pytest.mark.parametrize(("backbone", "task", "target"), GRID)
def test_targets_are_not_read_when_scoring(fitted, backbone, task, target):
    model, log, examples = fitted(backbone, task, target)
    assert (answers(model, log, examples.drop(columns_of(target))) == answers(model, log, examples)).all()


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_a_causal_backbone_does_not_look_ahead(name):
    """States up to step k change by exactly 0 when every later step changes."""
    from types import SimpleNamespace

    options = {"causal": True} if "causal" in {item.name for item in fields(BACKBONES[name])} else {}
    config = BACKBONES[name](hidden_size=16, **options)
    if not config.is_causal:
        pytest.skip("sees all steps by design")
    torch.manual_seed(0)
    network, n_steps, k = config.build().eval(), 41, 19
    batch = SimpleNamespace(
        lengths=torch.full((2,), n_steps),
        is_step=torch.ones(2, n_steps, dtype=torch.bool),
        age_days=torch.rand(2, n_steps) * 100,
        gap_days=torch.rand(2, n_steps),
        has_padding=False,
    )
    steps = torch.randn(2, n_steps, 16)
    other = SimpleNamespace(**vars(batch))
    other.age_days = torch.cat([batch.age_days[:, : k + 1], torch.rand(2, n_steps - k - 1)], 1)
    changed = torch.cat([steps[:, : k + 1], torch.randn(2, n_steps - k - 1, 16)], 1)
    difference = (network(changed, other) - network(steps, batch)).abs()
    assert difference[:, : k + 1].max() == 0.0 and difference[:, k + 1 :].max() > 0.01
