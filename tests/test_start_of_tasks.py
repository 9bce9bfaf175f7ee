"""Taggers and embeddings of histories start from a pretrained bundle: its vocabularies, its weights, and no leak."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

import habitus as hb
from habitus.backbones.embed import module_key
from habitus.cli import main
from habitus.data.split import PretrainSplit
from habitus.errors import ConfigError, DataError
from habitus.model.start import Start
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)
QUICK = Training(epochs=1, batch_tokens=512, threads=1, tracker=None)
GRU = hb.GRU(hidden_size=8)
DROPPED = hb.Data(drop=("right",))


def answers(n=40, seed=0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), rng.integers(4, 9, n))
    skill = rng.integers(0, 6, len(who))
    return pl.DataFrame(
        {
            "user_id": [f"u{one:02}" for one in who],
            "timestamp": [START + timedelta(hours=h) for h in range(len(who))],
            "skill": [f"s{one}" for one in skill],
            "seconds": rng.random(len(who)) * 60,
            "right": np.where(rng.random(len(who)) < 0.2 + 0.1 * skill, "yes", "no"),
        }
    )


def pretrained(path, events=None, **parts):
    parts = {"data": DROPPED, "split": PretrainSplit(test=0.2), **parts}
    model = hb.SequenceModel(hb.Pretrain("next"), GRU, training=QUICK, **parts)
    model.fit(answers() if events is None else events)
    model.save(path)
    return model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "model"
    return path, pretrained(path)


def tagger(task=None, backbone=None, **options):
    options = hb.TagOptions(baselines=(), **options)
    return hb.SequenceModel(task or hb.Tag("right"), backbone, training=QUICK, options=options)


@pytest.mark.parametrize("label_history", [False, True])
def test_a_tagger_held_still_has_the_weights_of_its_start_wherever_they_belong(bundle, label_history, tmp_path):
    path, begun = bundle
    model = tagger(hb.Tag("right", label_history=label_history), taken_rate=0.0).fit(answers(), start=path)
    theirs, own = begun.network_.state_dict(), model.network_.state_dict()
    places = {"embed.gap.project.weight": "gap.project.weight", "embed.hour.weight": "calendar.0.weight",
              "embed.weekday.weight": "calendar.1.weight"}  # fmt: skip
    taken = [name for name in theirs if name.startswith(("embed.", "backbone.")) and not name.startswith("embed.age")]
    assert len(taken) > 8
    for name in taken:
        assert torch.equal(theirs[name], own[places.get(name, name)]), name
    assert model.encoder_.events.fields["skill"].values == begun.encoder_.fields["skill"].values
    assert any("pretrained bundle" in note for note in model.evaluation_.notes)
    if label_history:
        fresh = [name for name, one in model.network_.named_parameters() if one.requires_grad and "embed" in name]
        assert fresh and all(module_key("previous")[:14] in name for name in fresh)
    model.save(tmp_path / "tagger")
    again = hb.load(tmp_path / "tagger")
    assert again.start_["hash"] == begun.hash_ and "Starts from" in (tmp_path / "tagger" / "README.md").read_text()
    assert again.predict(answers()).equals(model.predict(answers()))


def test_a_share_of_the_rate_moves_the_taken_weights_less(bundle):
    path, begun = bundle
    moved = {}
    for rate in (0.01, 1.0):
        own = tagger(taken_rate=rate).fit(answers(), start=path).network_.state_dict()
        moved[rate] = sum(
            float((own[name] - one).abs().sum())
            for name, one in begun.network_.state_dict().items() if name.startswith("backbone.")
        )  # fmt: skip
    assert 0 < moved[0.01] < 0.1 * moved[1.0]


def test_histories_that_judge_may_not_have_been_read(tmp_path):
    pretrained(tmp_path / "all", split=PretrainSplit())
    with pytest.raises(DataError, match=r"histories of 8 of the 8 entities that judge.* --test 0.2 --seed 0"):
        tagger().fit(answers(), start=tmp_path / "all")
    options = hb.EmbedOptions(baselines=(), shortest=2)
    users = hb.SequenceModel(hb.Embed(), training=QUICK, options=options, data=DROPPED)
    with pytest.raises(DataError, match="entities that judge"):
        users.fit(answers(), start=tmp_path / "all")


def test_a_start_that_knows_the_label_or_other_fields_is_refused(bundle, tmp_path):
    pretrained(tmp_path / "label", data=hb.Data())
    with pytest.raises(DataError, match=r"pretrained on 'right' too, which is the label; .* --drop right"):
        tagger().fit(answers(), start=tmp_path / "label")
    with pytest.raises(DataError, match="reads 'skill', 'seconds', and here is 'skill', 'seconds', 'more'"):
        tagger().fit(answers().with_columns(more=pl.lit("x")), start=bundle[0])
    with pytest.raises(ConfigError, match=r"reads 'skill' as .* leave its --field or --drop out"):
        model = tagger()
        model.data = hb.Data(drop=("skill",))
        model.fit(answers(), start=bundle[0])


def test_a_backbone_that_cannot_take_the_weights_is_refused(bundle):
    with pytest.raises(ConfigError, match=r"not the one that was pretrained: hidden_size=16 .there 8."):
        tagger(backbone=hb.GRU(hidden_size=16)).fit(answers(), start=bundle[0])
    with pytest.raises(ConfigError, match="direction"):
        tagger(hb.Tag("right", direction="both", crf=True)).fit(answers(), start=bundle[0])


def test_vectors_of_histories_start_there_too(bundle):
    path, begun = bundle
    options = hb.EmbedOptions(baselines=(), shortest=2, taken_rate=0.0)
    model = hb.SequenceModel(hb.Embed(), training=QUICK, options=options, data=DROPPED).fit(answers(), start=path)
    own = model.network_.state_dict()
    for name, one in begun.network_.state_dict().items():
        if name.startswith(("embed.", "backbone.")):
            assert torch.equal(one, own[name]), name
    again = hb.SequenceModel(hb.Embed(), training=QUICK, options=options, data=DROPPED).fit(answers())
    assert again.start_ is None


def test_texts_and_other_tasks_cannot_start_there(bundle):
    texts = hb.SequenceModel(hb.Embed(), data=hb.Data(text="said"), training=QUICK)
    with pytest.raises(ConfigError, match="cannot start from a pretrained bundle with such data"):
        texts.fit(pl.DataFrame({"said": ["a", "b"]}), start=bundle[0])
    series = hb.SequenceModel(hb.Forecast("x", horizon=2), training=QUICK)
    with pytest.raises(ConfigError, match="'forecast' cannot start"):
        series.fit(pl.DataFrame(), start=bundle[0])


def test_a_start_that_is_read_once_serves_many(bundle):
    begun = Start.read(bundle[0])
    model = tagger()
    model.begin_from(begun)
    assert model.backbone == hb.GRU(hidden_size=8)
    model.begin_from(None)
    assert model.start_ is None


def test_the_command_line_pretrains_and_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers().write_parquet("answers.parquet")
    small = ["--epochs", "1", "--quiet"]
    body = ["--backbone", "gru", "--set", "backbone.hidden_size=8"]
    pretrain = ["pretrain", "--events", "answers.parquet", "--drop", "right", "--out", "begun", *small, *body]
    assert main([*pretrain, "--test", "0.2"]) == 0
    fit = ["fit", "tag", "--events", "answers.parquet", "--target", "right", "--from", "begun", "--out", "tags", *small]
    assert main([*fit, "--taken-rate", "0.3"]) == 0
    assert main(["fit", "embed", "--events", "answers.parquet", "--drop", "right", "--from", "begun", "--out", "users",
                 "--set", "options.shortest=2", *small]) == 0  # fmt: skip
    capsys.readouterr()
    assert main([*fit[:-3], *small, "--out", "other", "--set", "backbone.hidden_size=16"]) == 2
    assert "not the one that was pretrained" in " ".join(capsys.readouterr().err.split())


def later(events, share=0.5):
    """Return the moment up to which each entity's history may be read in pretraining."""
    at = events.group_by("user_id", maintain_order=True).agg(pl.col("timestamp").sort())
    return at.select("user_id", cutoff=pl.col("timestamp").list.eval(pl.element().quantile(share)).list.first())


def next_model(**options):
    return hb.SequenceModel(
        hb.NextEvent("skill", when=False),
        training=QUICK,
        split=hb.NextSplit("leave-one-out"),
        options=hb.NextOptions(baselines=(), **options),
        data=DROPPED,
    )


def test_next_events_start_there_and_learn_the_items_that_are_new(tmp_path):
    events = answers()
    known = events.filter(pl.col("skill") != "s5")
    begun = hb.SequenceModel(hb.Pretrain("next"), GRU, training=QUICK, data=DROPPED).fit(known, later(known))
    begun.save(tmp_path / "begun")
    model = next_model(taken_rate=0.0).fit(events, start=tmp_path / "begun")
    theirs, own = begun.network_.state_dict(), model.network_.state_dict()
    table = f"embed.categories.{module_key('skill')}.weight"
    assert len(own[table]) == len(theirs[table]) + 1
    assert 0 < float((own[table][: len(theirs[table])] - theirs[table]).abs().max()) < 0.1  # learns with the new one
    assert torch.equal(own["hour.weight"], theirs["embed.hour.weight"])
    held = [name for name in theirs if name.startswith("backbone.")]
    assert held and all(torch.equal(own[name], theirs[name]) for name in held)
    assert "s5" in model.vocabulary_.values
    model.save(tmp_path / "next")
    assert hb.load(tmp_path / "next").start_["hash"] == begun.hash_


def test_next_events_that_were_read_before_are_refused(tmp_path):
    pretrained(tmp_path / "all", split=PretrainSplit())
    with pytest.raises(DataError, match=r"read events that are to be foretold, of .* --examples X"):
        next_model().fit(answers(), start=tmp_path / "all")


def test_a_backbone_that_looks_ahead_cannot_foretell(tmp_path):
    events = answers()
    both = hb.Transformer(hidden_size=8, n_heads=2, causal=False)
    masked = hb.SequenceModel(hb.Pretrain("masked"), both, training=QUICK, data=DROPPED).fit(events, later(events))
    masked.save(tmp_path / "masked")
    with pytest.raises(ConfigError, match="causal"):
        next_model().fit(events, start=tmp_path / "masked")
