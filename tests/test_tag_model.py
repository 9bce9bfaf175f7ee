"""A tagger from log to bundle: every backbone, and what an answer may not depend on."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.backbones import GRU, Transformer
from habitus.data.options import Data
from habitus.data.tags.split import TagSplit
from habitus.errors import ConfigError, DataError
from habitus.fields import Category
from habitus.model import BACKBONES, SequenceModel, load
from habitus.model.tag import TagModel, TagOptions
from habitus.tasks import Tag
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)
N_USERS, MAX_LENGTH = 24, 8
TRAINING = Training(epochs=2, batch_rows=8, learning_rate=0.01, tracker=None, device="cpu")
CASES = {
    "past": Tag("right"),
    "history": Tag("right", label_history=True),
    "both": Tag("kind", direction="both"),
    "bio crf": Tag("tag", direction="both", scheme="bio", crf=True),
}
GRID = [pytest.param(name, case, id=f"{name}-{case}") for name in BACKBONES for case in CASES]
every_pair = pytest.mark.parametrize(("backbone", "case"), GRID)


def make(seed=0):
    """Histories of 1 to 17 events, some longer than a window, with three kinds of labels."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(N_USERS), 1 + np.arange(N_USERS) * 7 % 17)
    n = len(who)
    item = rng.integers(0, 6, n)
    tag = np.array(["O", "B-x", "I-x"])[np.minimum(item // 2, 2)]
    right = [None if rng.random() < 0.1 else int(rng.random() < one / 6) for one in item]
    return pl.DataFrame(
        {
            "user_id": [f"user {entity}" for entity in who],
            "timestamp": [START + timedelta(minutes=m) for m in rng.permutation(90 * 1440)[:n].tolist()],
            "item": [f"item {one}" for one in item],
            "amount": rng.normal(size=n),
            "right": right,
            "kind": np.array(["a", "b", "c"])[item % 3],
            "tag": tag,
        }
    )


def log_for(task, frame):
    """The log with the column of the task's labels and no other that knows them."""
    return frame.drop([name for name in ("right", "kind", "tag") if name != task.target])


def model_of(backbone, task, **parts):
    options = {**TagModel.backbone_defaults(task, backbone), **({"n_heads": 2} if backbone == "transformer" else {})}
    return SequenceModel(
        task,
        BACKBONES[backbone](hidden_size=8, **options),
        data=Data(fields={"item": Category(min_count=1)}, max_length=MAX_LENGTH),
        split=TagSplit(validation=0.2, test=0.25),
        training=TRAINING,
        **parts,
    )


@pytest.fixture(scope="module")
def fitted():
    known = {}

    def of(backbone, case):
        if (backbone, case) not in known:
            log = log_for(CASES[case], make())
            known[backbone, case] = model_of(backbone, CASES[case]).fit(log), log
        return known[backbone, case]

    return of


def answers(model, log):
    """Every probability by event: (user, time) -> numbers."""
    rows = model.read(log).rows
    probability = model.answer(rows).probability
    frame = model.predict(log)
    assert frame.height == log.height
    lengths = rows.histories.lengths
    users = log["user_id"].unique(maintain_order=True).to_list()
    place = np.repeat(np.arange(len(users)), lengths)
    return {(users[u], int(t)): p for u, t, p in zip(place, rows.histories.time_us, probability, strict=True)}


def furthest(one, other, keys=None):
    return max(np.abs(one[key] - other[key]).max() for key in (one if keys is None else keys))


@every_pair
def test_it_trains_answers_and_is_judged(fitted, backbone, case):
    model, log = fitted(backbone, case)
    evaluation = model.evaluation_
    assert evaluation.n == 6 and model.task.monitor in evaluation.metrics and evaluation.baselines
    assert len(model.history_) == 2 and all(np.isfinite(record["train_loss"]) for record in model.history_)
    assert any("labelled events of 6 sequences are judged" in note for note in evaluation.notes)
    assert any("windows that overlap" in note for note in evaluation.notes)
    frame = model.predict(log)
    assert frame["user_id"].to_list() == log["user_id"].to_list()  # in the order of the log
    assert set(frame["prediction"]) <= set(model.task.labels)
    assert frame.select(pl.selectors.starts_with("probability")).to_numpy().max() <= 1 + 1e-6


@every_pair
def test_saved_and_loaded_it_gives_the_same_bits(fitted, tmp_path, backbone, case):
    model, log = fitted(backbone, case)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert furthest(answers(again, log), answers(model, log)) == 0.0
    assert again.predict(log).equals(model.predict(log))
    assert again.evaluate(log).to_json() == model.evaluate(log).to_json()
    assert again.task == model.task


@every_pair
def test_padding_and_company_change_nothing(fitted, backbone, case):
    model, log = fitted(backbone, case)
    whole = answers(model, log)
    for chosen in ([0], [7], [1, 7, 0, 15]):
        few = log.filter(pl.col("user_id").is_in([f"user {number}" for number in chosen]))
        assert furthest(answers(model, few), whole, answers(model, few)) <= 1e-5


@every_pair
def test_an_own_label_is_never_read(fitted, backbone, case):
    """Changing a label changes no answer, or, with a history of labels, only later answers of the same user."""
    model, log = fitted(backbone, case)
    log = log.sort("user_id", "timestamp")
    user = "user 9"
    at = log.filter(pl.col("user_id") == user)["timestamp"][3]
    is_it = (pl.col("user_id") == user) & (pl.col("timestamp") == at)
    whole, target = answers(model, log), model.task.target
    n_changed = 0
    for label in log[target].unique().to_list():
        other = answers(model, log.with_columns(pl.when(is_it).then(pl.lit(label)).otherwise(target).alias(target)))
        changed = [key for key in whole if np.abs(other[key] - whole[key]).max() > 0]
        assert all(key[0] == user and key[1] > at.timestamp() * 1e6 for key in changed)
        n_changed += len(changed)
    assert bool(n_changed) == model.task.label_history
    if not model.task.label_history:
        assert furthest(answers(model, log.drop(target)), whole) == 0.0


@every_pair
def test_the_future_is_unseen_unless_the_direction_is_both(fitted, backbone, case):
    model, log = fitted(backbone, case)
    log = log.sort("user_id", "timestamp")
    is_later = pl.int_range(pl.len()).over("user_id") >= pl.len().over("user_id") // 2
    changed = log.with_columns(
        item=pl.when(is_later).then(pl.lit("item 1")).otherwise("item"),
        amount=pl.when(is_later).then(9.0).otherwise("amount"),
        timestamp=pl.when(is_later).then(pl.col("timestamp") + timedelta(days=5000)).otherwise("timestamp"),
    )
    whole, other = answers(model, log), answers(model, changed)
    before = [key for key in whole if key in other]
    far = furthest(whole, other, before)
    assert len(before) > 50 and (far > 1e-4 if model.task.direction == "both" else far <= 1e-6)


def test_ties_keep_the_order_of_the_log(fitted):
    model, log = fitted("gru", "past")
    tied = log.with_columns(timestamp=pl.lit(START))
    assert model.predict(tied)["user_id"].to_list() == log["user_id"].to_list()


def test_a_transformer_reads_later_events_by_default_where_it_shall():
    assert SequenceModel(Tag("tag", direction="both")).backbone == Transformer(causal=False)
    assert SequenceModel(Tag("tag")).backbone == Transformer()


@pytest.mark.parametrize(
    ("task", "backbone", "said"),
    [
        (Tag("right"), GRU(bidirectional=True), "direction='past' says"),
        (Tag("right", label_history=True), Transformer(causal=False), "as label_history needs"),
        (Tag("right", direction="both"), GRU(), "bidirectional=True"),
        (Tag("kind", direction="both"), Transformer(), "causal=False"),
    ],
)
def test_a_backbone_that_reads_otherwise_is_refused(task, backbone, said):
    with pytest.raises(ConfigError, match=said):
        SequenceModel(task, backbone, training=TRAINING).fit(make())


def test_options_that_cannot_be_right_are_refused():
    with pytest.raises(ConfigError, match="value_dropout=1"):
        TagOptions(value_dropout=1.0)
    with pytest.raises(ConfigError, match="no baseline 'markov'"):
        TagOptions(baselines=("markov",))
    model = model_of("gru", Tag("kind"), options=TagOptions(baselines=("running rates + logistic regression",)))
    with pytest.raises(ConfigError, match="knows two labels"):
        model.fit(log_for(model.task, make()))


def test_units_of_training_are_left_out_of_an_evaluation(fitted):
    model, log = fitted("gru", "past")
    assert model.evaluate(log).n == model.evaluation_.n
    assert any("18 of 24 sequences were used in training" in note for note in model.evaluate(log).notes)
    assert model.evaluate(log, include_training=True).n == N_USERS


def test_a_part_without_labels_is_said():
    is_first = pl.col("user_id").is_in(["user 1", "user 2"])
    part = pl.when(is_first).then(pl.lit("train")).otherwise(pl.lit("dev"))
    log = make().with_columns(kind=pl.when(is_first).then("kind"), part=part)
    model = SequenceModel(Tag("kind"), GRU(hidden_size=8), split=TagSplit("part"), training=TRAINING)
    with pytest.raises(DataError, match="No event of the validation part has a label"):
        model.fit(log_for(model.task, log))


def test_text_needs_no_more_than_its_files(tmp_path):
    sentence = "Alice\tB-per\nSmith\tI-per\nsees\tO\nBob\tB-per\n"
    for part, n in (("train", 40), ("dev", 8), ("test", 8)):
        (tmp_path / f"x_{part}.conll").write_text("\n".join([sentence, "it\tO\nrains\tO\n"] * n), "utf-8")
    task = Tag("tag", direction="both", scheme="bio", crf=True)
    model = SequenceModel(
        task, GRU(hidden_size=16, bidirectional=True), training=Training(epochs=8, batch_rows=8, learning_rate=0.02)
    ).fit(str(tmp_path))
    assert not model.network_.use_time and model.evaluation_.metrics["f1"].value == 1
    (tmp_path / "new.conll").write_text("Alice\nSmith\nrains\n", "utf-8")
    assert model.predict(str(tmp_path / "new.conll"))["prediction"].to_list() == ["B-per", "I-per", "O"]
