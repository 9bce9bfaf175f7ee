"""Pretraining and what starts from it: point in time, weights taken over, what is refused, saved and loaded."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch

from habitus.backbones import GRU
from habitus.data.options import Data
from habitus.data.simulate import simulate_installs
from habitus.data.split import PretrainSplit, Split
from habitus.errors import ConfigError, DataError
from habitus.model import Options, SequenceModel, load
from habitus.model.pretrain_options import PretrainOptions
from habitus.model.pretrain_rows import prepare_unlabelled
from habitus.model.start import Start
from habitus.tasks import Classify, Regress
from habitus.tasks.pretrain import OBJECTIVES, Pretrain
from habitus.training import Training

LOG = simulate_installs(60, seed=2)
QUICK = Training(epochs=1, tracker=None, learning_rate=0.01, threads=1)
BODY = GRU(hidden_size=8)


def pretrained(events=LOG.events, examples=LOG.labels, objective="next", **parts):
    parts = {"training": QUICK, **parts}
    return SequenceModel(Pretrain(objective), BODY, **parts).fit(events, examples)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "bundle"
    pretrained(options=PretrainOptions(factors=4)).save(path)
    return path


def weights(model):
    return {name: value.clone() for name, value in model.network_.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def fitted(bundle, **options):
    options = Options(baselines=(), **options)
    return SequenceModel(Classify("risk"), training=QUICK, options=options).fit(LOG.events, LOG.labels, start=bundle)


def test_events_at_or_after_the_first_cutoff_change_no_weight():
    first = LOG.labels.group_by("user_id").agg(pl.col("cutoff").min())
    canaries = first.select("user_id", timestamp="cutoff").with_columns(
        item_id=pl.lit("canary"), category=pl.lit("canary"), size_mb=pl.lit(1e9)
    )
    later = canaries.with_columns(pl.col("timestamp") + timedelta(days=9))
    plain, other = pretrained(), pretrained(pl.concat([LOG.events, canaries, later]))
    assert same(weights(plain), weights(other)) and plain.learned_from_ == other.learned_from_ | {
        "source": plain.learned_from_["source"]
    }
    before = canaries.with_columns(pl.col("timestamp") - timedelta(microseconds=1))
    assert not same(weights(plain), weights(pretrained(pl.concat([LOG.events, before]))))


def test_labels_are_not_read():
    flipped = LOG.labels.with_columns(1 - pl.col("risk"), region=pl.lit("elsewhere"))
    assert same(weights(pretrained()), weights(pretrained(examples=flipped)))


def test_a_start_that_read_beyond_a_cutoff_is_refused(tmp_path):
    pretrained(examples=None).save(tmp_path / "bundle")
    with pytest.raises(DataError, match="at or after the cutoff"):
        fitted(tmp_path / "bundle")
    ends = LOG.labels.with_columns(pl.lit(LOG.events["timestamp"].max() + timedelta(days=1)).alias("cutoff"))
    SequenceModel(Classify("risk"), training=QUICK, options=Options(baselines=())).fit(
        LOG.events, ends.unique("user_id", maintain_order=True), start=tmp_path / "bundle"
    )


def test_the_seen_moments_are_those_of_the_last_events():
    rows = prepare_unlabelled(LOG.events, LOG.labels, Data(), PretrainSplit())
    first = LOG.labels.group_by("user_id").agg(pl.col("cutoff").min())
    kept = LOG.events.join(first, on="user_id").filter(pl.col("timestamp") < pl.col("cutoff"))
    last = kept.group_by("user_id").agg(pl.col("timestamp").max())["timestamp"].dt.epoch("us").to_list()
    assert len(rows.encoded) == len(last)
    np.testing.assert_allclose(sorted(rows.seen[1]), sorted(last), atol=2e6)  # float32 days: within two seconds
    assert (np.diff(rows.seen[0]) > 0).all()


def test_the_test_part_of_a_later_fit_can_be_left_out_whole():
    split = PretrainSplit(test=0.3, seed=4)
    rows = prepare_unlabelled(LOG.events, LOG.labels, Data(), split)
    part = Split(test=0.3, seed=4).assign(LOG.labels, "user_id", "cutoff")
    tested = set(LOG.labels["user_id"].filter(pl.Series(part == "test")))
    others = LOG.events.filter(~pl.col("user_id").is_in(list(tested)))
    assert len(rows.encoded) <= LOG.labels["user_id"].n_unique() - len(tested)
    again = prepare_unlabelled(
        others, LOG.labels.filter(~pl.col("user_id").is_in(list(tested))), Data(), PretrainSplit()
    )
    known = set(again.encoder.fields["item_id"].values) | set(others["item_id"])
    assert set(rows.encoder.fields["item_id"].values) <= known


def test_weights_and_vocabularies_are_taken_over_and_held_still_at_rate_0(bundle):
    start, model = load(bundle), fitted(bundle, taken_rate=0.0)
    assert model.encoder_.fields["item_id"].values == start.encoder_.fields["item_id"].values
    assert model.backbone == BODY  # none was chosen, so that it is the start's
    taken, own = weights(start), weights(model)
    names = [name for name in own if name.split(".")[0] in ("embed", "backbone")]
    assert names and all(torch.equal(own[name], taken[name]) for name in names)
    moved = weights(fitted(bundle, taken_rate=0.5))
    assert not all(torch.equal(moved[name], taken[name]) for name in names)
    table = start.factors_["item_id"]
    np.testing.assert_array_equal(own["wide.factors.field_item__id"].numpy(), table)


def test_the_rate_of_what_was_taken_is_a_share():
    from habitus.training.optim import build_optimizer

    model = pretrained()
    network = model.network_
    start = Start(model.encoder_, {}, network.state_dict(), {}, {}, (np.zeros(0), np.zeros(0)))
    start.hand_over(network, 0.25)
    groups = build_optimizer(network, Training()).param_groups
    n_slow = sum(one.numel() for group in groups if group["share"] == 0.25 for one in group["params"])
    assert n_slow == sum(one.numel() for part in (network.embed, network.backbone) for one in part.parameters())


def test_a_bundle_remembers_its_start_and_scores_the_same_after_loading(bundle, tmp_path):
    model = fitted(bundle)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.start_["hash"] == load(bundle).hash_ and again.start_["objective"] == "next"
    np.testing.assert_array_equal(again.predict_proba(LOG.events), model.predict_proba(LOG.events))
    assert "Starts from" in (tmp_path / "model" / "README.md").read_text()
    assert any("pretrained bundle" in note for note in model.evaluation_.notes)


def test_numbers_start_from_it_too(bundle):
    table = LOG.labels.with_columns(spent=pl.col("risk") * 3.0 + 1.0).drop("risk")
    model = SequenceModel(Regress("spent"), training=QUICK, options=Options(baselines=()))
    assert model.fit(LOG.events, table, start=bundle).start_ is not None


def test_what_does_not_fit_is_refused_in_a_sentence(bundle, tmp_path):
    with pytest.raises(ConfigError, match="hidden_size=16"):
        SequenceModel(Classify("risk"), GRU(hidden_size=16)).fit(LOG.events, LOG.labels, start=bundle)
    with pytest.raises(DataError, match="category"):
        SequenceModel(Classify("risk")).fit(LOG.events.drop("category"), LOG.labels, start=bundle)
    with pytest.raises(ConfigError, match="'category'"):
        SequenceModel(Classify("risk"), data=Data(drop=("category",))).fit(LOG.events, LOG.labels, start=bundle)
    with pytest.raises(DataError, match="use_time"):
        fitted(bundle, use_time=False)
    fitted(bundle).save(tmp_path / "classifier")
    with pytest.raises(ConfigError, match="classify"):
        fitted(tmp_path / "classifier")
    with pytest.raises(ConfigError, match="start a task"):
        load(bundle).predict(LOG.events)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_saved_bundle_embeds_the_same(objective, tmp_path):
    log = simulate_installs(500, seed=2) if objective == "order" else LOG  # that needs more to tell from chance
    model = pretrained(log.events, log.labels, objective=objective)
    model.save(tmp_path / "bundle")
    examples = LOG.labels.select("user_id", "cutoff")
    found = load(tmp_path / "bundle").embed(LOG.events, examples)
    assert found.shape == (LOG.labels.height, 8)
    np.testing.assert_allclose(found, model.embed(LOG.events, examples), atol=1e-6)


def test_texts_are_pretrained_and_started_from(tmp_path):
    rng = np.random.default_rng(0)
    words = np.array(["good", "fine", "bad", "poor", "film", "plot", "the", "a"])
    table = pl.DataFrame(
        {"review": [" ".join(rng.choice(words, 12)) for _ in range(40)], "label": rng.integers(0, 2, 40)}
    )
    data = Data(text="review")
    model = SequenceModel(Pretrain("masked"), GRU(hidden_size=8, bidirectional=True), data=data, training=QUICK)
    model.fit(examples=table).save(tmp_path / "bundle")
    fit = SequenceModel(Classify("label"), data=data, training=QUICK, options=Options(baselines=()))
    fit.fit(examples=table, start=tmp_path / "bundle")
    assert fit.encoder_.to_json()["fields"] == model.encoder_.to_json()["fields"]


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    class Stopped(Exception):
        pass

    class Stop:
        def on_start(self, facts): ...
        def on_batch(self, facts): ...
        def on_end(self): ...
        def on_epoch(self, record):
            if record["epoch"] == 1:
                self.after = True

        after = False

    class StopInSecond(Stop):
        def on_batch(self, facts):
            if self.after:
                raise Stopped

    training = Training(epochs=2, tracker=None, threads=1, checkpoint_every_s=0)
    whole = pretrained(objective="masked", training=training)
    part = SequenceModel(Pretrain("masked"), BODY, training=training)
    with pytest.raises(Stopped):
        part.fit(LOG.events, LOG.labels, folder=tmp_path, callbacks=[StopInSecond()])
    rest = SequenceModel(Pretrain("masked"), BODY, training=training)
    rest.fit(LOG.events, LOG.labels, folder=tmp_path, resume=True)
    assert same(weights(whole), weights(rest))
