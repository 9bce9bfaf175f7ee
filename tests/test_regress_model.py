"""A model of numbers: totals are found, answers are the model's own, what is only for classes is refused."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from habitus.backbones import GRU
from habitus.baselines.regress import NUMBER_BASELINES, Aim
from habitus.data.options import Data
from habitus.errors import ConfigError, DataError
from habitus.model import Options, SequenceModel, load
from habitus.model.rivals import pack_rivals, unpack_rivals
from habitus.tasks import Classify, Regress
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)


def make(n=300, seed=0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), rng.integers(1, 10, n))
    amount = rng.normal(10, 2, len(who))
    when = [START + timedelta(minutes=m) for m in rng.integers(0, 90 * 1440, len(who)).tolist()]
    log = pl.DataFrame({"user_id": who, "timestamp": when, "amount": amount})
    spent = np.bincount(who, weights=amount, minlength=n)
    return log, pl.DataFrame({"user_id": range(n), "cutoff": [START + timedelta(days=90)] * n, "spent": spent})


def new(task=None, *, data=None, **options):
    training = Training(epochs=2, batch_rows=32, tracker=None, device="cpu")
    options = Options(**({"baselines": ()} | options))
    return SequenceModel(task or Regress("spent"), GRU(hidden_size=8), training=training, options=options, data=data)


def test_a_total_is_found_which_a_pooled_state_alone_would_have_to_learn():
    with_totals, without = (new(wide=wide).fit(*make()).evaluation_.metrics["r2"].value for wide in (True, False))
    assert with_totals > 0.95 > without


@pytest.mark.parametrize("options", [{"log": True}, {"loss": "quantile"}])
def test_saved_with_its_rivals_and_loaded_it_judges_the_same(tmp_path, options):
    log, examples = make(120)
    model = new(Regress("spent", **options), baselines=("constant", "bag + ridge regression")).fit(log, examples)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.predict(log, examples).equals(model.predict(log, examples))
    assert again.evaluate(log, examples).to_json() == model.evaluate(log, examples).to_json()
    assert [rival.name for rival in again.baselines_] == ["constant", "bag + ridge regression"]


def test_windows_of_a_long_history_are_averaged():
    log, examples = make(60)
    model = new(data=Data(max_length=3, history="windows")).fit(log, examples)
    scores = model.predict(log, examples)
    assert scores.height == 60 and np.isfinite(scores["prediction"].to_numpy()).all()


def test_rivals_packed_and_unpacked_are_the_same():
    rows = SimpleNamespace(target=np.array([1.0, 2.0, 6.0]))
    fitted = [NUMBER_BASELINES["constant"]().fit(rows, rows, {}, Aim(loss)) for loss in ("squared", "absolute")]
    tensors, documents = pack_rivals(fitted)
    assert sorted(tensors) == ["baseline/0/answer", "baseline/1/answer"]
    bundle = SimpleNamespace(tensors=tensors, documents={"baselines": documents})
    assert [one.answer_.tolist() for one in unpack_rivals(bundle, NUMBER_BASELINES)] == [[3.0], [2.0]]


def test_what_is_for_classes_is_refused():
    log, examples = make(60)
    with pytest.raises(ConfigError, match="not for the task 'regress'"):
        new(baselines=("most frequent",))
    with pytest.raises(ConfigError, match="not for the task 'classify'"):
        new(Classify("risk"), baselines=("constant",))
    with pytest.raises(ConfigError, match="There is no baseline 'constnat'; did you mean 'constant'"):
        Options(baselines=("constnat",))
    with pytest.raises(ConfigError, match="leave it out for numbers"):
        new(calibration="platt").fit(log, examples)
    with pytest.raises(DataError, match="needs numbers"):
        new().fit(log, examples.with_columns(spent=pl.lit("much")))
    with pytest.raises(ConfigError, match="has no probabilities"):
        new().fit(log, examples).predict_proba(log, examples)
