"""A stream answers, after every event, as reading the whole history again does."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from habitus.backbones import GRU, LSTM, RNN, Transformer
from habitus.data.histories import Windows
from habitus.data.next_batch import HistoryTensors
from habitus.data.next_split import NextSplit
from habitus.data.options import Data
from habitus.errors import ConfigError, DataError, HabitusError
from habitus.model import NextOptions, SequenceModel, load
from habitus.model.presets import next_event_preset
from habitus.next_prepared import read_histories
from habitus.tasks.next_event import NextEvent
from habitus.tasks.ranking import Questions, answer_states
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)
MAX_LENGTH = 10
PRESET = {name: value for name, value in next_event_preset("fast", "item_id")["backbone"].items() if name != "name"}
MODELS = {
    "transformer": (Transformer(hidden_size=16, n_heads=2), NextEvent()),
    "transformer of the presets": (
        Transformer(**(PRESET | {"hidden_size": 16})),
        NextEvent(when=False, calendar=False),
    ),
    "gru": (GRU(hidden_size=16, n_layers=2), NextEvent()),
    "lstm": (LSTM(hidden_size=16, n_layers=2), NextEvent()),
    "rnn": (RNN(hidden_size=16), NextEvent(when=False)),
    "may be told": (Transformer(hidden_size=16, n_heads=2, n_layers=1), NextEvent(query_time=0.5)),
}


def make(n_users=30, seed=0):
    rng, rows = np.random.default_rng(seed), []
    for user in range(n_users):
        when = START + timedelta(minutes=int(rng.integers(10**5)))
        for _ in range(int(rng.integers(2, 18))):
            kind, amount = rng.choice(["x", "y", None]), None if rng.random() < 0.2 else float(rng.normal())
            rows.append((f"u{user}", when, f"i{rng.integers(9)}", kind, amount))
            when += timedelta(seconds=float(rng.choice([0, 40.5, 7200, 1e6])))  # ties too
    return pl.DataFrame(rows, schema=["user_id", "timestamp", "item_id", "kind", "amount"], orient="row")


@pytest.fixture(scope="module")
def log():
    return make()


@pytest.fixture(scope="module")
def fitted(log):
    """Return a function that fits each model once."""
    known = {}

    def of(name):
        if name not in known:
            backbone, task = MODELS[name]
            training = Training(epochs=1, learning_rate=0.01, tracker=None, device="cpu")
            data, options = Data(max_length=MAX_LENGTH), NextOptions(baselines=())
            made = SequenceModel(task, backbone, data=data, split=NextSplit("none"), training=training, options=options)
            known[name] = made.fit(log)
            with torch.no_grad():  # as if it had learned more: differences would show
                for parameter in made.network_.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        return known[name]

    return of


def events_of(log, user):
    return log.filter(pl.col("user_id") == user).drop("user_id").to_dicts()


def recomputed(model, log, n_kept, stop):
    """The answer to the latest `n_kept` of the first `stop` events of a log of one user."""
    _, _, histories = read_histories(model.encoder_, log, model.data)
    windows = Windows(np.array([stop - n_kept]), np.array([stop]))
    questions = Questions(windows, np.array([0]), np.array([0]))
    return answer_states(model.network_, HistoryTensors(histories), questions)[0].numpy()


@pytest.mark.parametrize("name", MODELS)
def test_every_answer_is_that_of_the_whole_history(fitted, log, name):
    model = fitted(name)
    stream, n_long = model.stream(), 0
    for user in ("u0", "u1", "u2", "u3", "u4", "u5"):
        own = log.filter(pl.col("user_id") == user)
        for number, event in enumerate(events_of(log, user), start=1):
            stream.push(user, event)
            kept = stream.n_kept(user)
            assert kept <= MAX_LENGTH and (kept == number or number > MAX_LENGTH)
            assert np.abs(stream.state(user) - recomputed(model, own, kept, number)).max() <= 1e-5
            if number <= MAX_LENGTH:
                assert np.abs(stream.state(user) - model.embed(own.head(number))[0]).max() <= 1e-5
            n_long += number > MAX_LENGTH
    assert len(stream) == 6 and "u0" in stream and "u9" not in stream and n_long > 5


@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_recommendations_are_those_of_the_model(fitted, log, name):
    model = fitted(name)
    stream = model.stream()
    short = log.filter(pl.int_range(pl.len()).over("user_id") < MAX_LENGTH)
    for event in short.to_dicts():  # users' events between each other's
        stream.push(event.pop("user_id"), event)
    for filter_seen in (None, True, False):
        found = model.recommend(short, k=12, filter_seen=filter_seen)
        for user in ("u0", "u7", "u11"):
            expected = found.filter(pl.col("user_id") == user)
            own = stream.recommend(user, k=12, filter_seen=filter_seen)
            assert own["item_id"].to_list() == expected["item_id"].to_list() and own.columns == [
                "item_id",
                "score",
                "rank",
            ]
            assert own["rank"].to_list() == expected["rank"].to_list()
            assert np.abs(own["score"].to_numpy() - expected["score"].to_numpy()).max() <= 1e-4


def test_what_was_seen_long_ago_stays_seen(fitted):
    model = fitted("gru")
    stream = model.stream()
    for number in range(3 * MAX_LENGTH):
        item = "i3" if number == 0 else "i4"
        stream.push("u", {"timestamp": START + timedelta(hours=number), "item_id": item})
    assert stream.n_kept("u") <= MAX_LENGTH
    assert not {"i3", "i4"} & set(stream.recommend("u", k=99, filter_seen=True)["item_id"])


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_restored_it_goes_on_alike(fitted, log, tmp_path, name):
    model = fitted(name)
    model.save(tmp_path / "model")
    stream, users = model.stream(), ["u0", "u1", "u2", 7]
    later = {user: events_of(log, f"u{user}" if user == 7 else user) for user in users}
    for user in users:
        for event in later[user][: len(later[user]) // 2 + 1]:
            stream.push(user, event)
    stream.save(tmp_path / "stream")
    again = load(tmp_path / "model").stream().restore(tmp_path / "stream")
    assert len(again) == 4 and 7 in again
    for user in users:
        assert (again.state(user) == stream.state(user)).all() and again.n_kept(user) == stream.n_kept(user)
        for event in later[user][len(later[user]) // 2 + 1 :]:
            stream.push(user, event)
            again.push(user, event)
            assert np.abs(again.state(user) - stream.state(user)).max() <= 1e-6
        filtered = [one.recommend(user, k=20, filter_seen=True)["item_id"].to_list() for one in (stream, again)]
        assert filtered[0] == filtered[1]


def test_many_users_are_saved_in_few_tensors(fitted, tmp_path):
    model = fitted("transformer")
    model.save(tmp_path / "model")
    stream = model.stream()
    stream.push("one", {"timestamp": START, "item_id": "i1", "kind": "x", "amount": 0.5})
    one = stream._users.pop("one")
    stream._users = {user: one for user in range(2500)}
    stream.save(tmp_path / "stream")
    again = model.stream().restore(tmp_path / "stream")
    assert len(again) == 2500 and (again.state(2499) == stream.state(0)).all()


def test_an_empty_stream_can_be_saved(fitted, tmp_path):
    model = fitted("gru")
    model.save(tmp_path / "model")
    model.stream().save(tmp_path / "stream")
    assert len(model.stream().restore(tmp_path / "stream")) == 0


def test_states_of_another_model_are_refused(fitted, log, tmp_path):
    one, other = fitted("gru"), fitted("transformer")
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    stream = one.stream()
    stream.push("u0", events_of(log, "u0")[0])
    stream.save(tmp_path / "stream")
    with pytest.raises(HabitusError, match="belong to the model"):
        other.stream().restore(tmp_path / "stream")
    with pytest.raises(HabitusError, match="holds no stream"):
        one.stream().restore(tmp_path / "one")


def test_a_stream_of_a_model_that_has_no_name_or_a_new_one_is_not_saved(log, tmp_path):
    training = Training(epochs=1, tracker=None, device="cpu")
    options = NextOptions(baselines=())
    model = SequenceModel(NextEvent(), GRU(hidden_size=8), split=NextSplit("none"), training=training, options=options)
    stream = model.fit(log).stream()
    with pytest.raises(HabitusError, match="Save the model first"):
        stream.save(tmp_path / "stream")
    model.update(log)
    model.save(tmp_path / "model")
    with pytest.raises(HabitusError, match="trained again"):
        stream.save(tmp_path / "stream")


def test_an_event_out_of_order_is_refused_and_changes_nothing(fitted, log):
    stream = fitted("gru").stream()
    stream.push("u", {"timestamp": START, "item_id": "i1"})
    before = stream.state("u").copy()
    with pytest.raises(DataError, match="lies before the last one"):
        stream.push("u", {"timestamp": START - timedelta(microseconds=1), "item_id": "i2"})
    assert (stream.state("u") == before).all() and stream.n_kept("u") == 1
    stream.push("u", {"timestamp": START, "item_id": "i2"})  # a tie is in the order of the pushes
    stream.push("v", {"timestamp": START - timedelta(days=9), "item_id": "i2"})  # another user's clock
    assert stream.n_kept("u") == 2
    stream.forget("u")
    stream.forget("nobody")
    stream.push("u", {"timestamp": START - timedelta(days=1), "item_id": "i2"})
    assert stream.n_kept("u") == 1


@pytest.mark.parametrize("moment", [None, datetime(2024, 1, 1), "2024-01-01T00:00:00Z", 1_704_067_200])
def test_an_event_without_a_usable_time_is_refused(fitted, moment):
    with pytest.raises(DataError, match="give a datetime with a time zone"):
        fitted("gru").stream().push("u", {"timestamp": moment, "item_id": "i1"})


def test_another_zone_is_the_same_moment(fitted):
    from zoneinfo import ZoneInfo

    states = []
    for zone in (UTC, ZoneInfo("America/New_York")):
        stream = fitted("transformer").stream()
        stream.push("u", {"timestamp": START.astimezone(zone), "item_id": "i1"})
        states.append(stream.state("u"))
    assert (states[0] == states[1]).all()


def test_unknown_and_missing_values_are_read_as_in_a_log(fitted):
    model = fitted("transformer")
    strange = pl.DataFrame(
        {
            "user_id": ["u"] * 4,
            "timestamp": [START + timedelta(hours=n) for n in range(4)],
            "item_id": ["never seen", "i1", None, "i2"],
            "kind": [None, "never seen", "x", None],
            "amount": [None, float("nan"), float("inf"), 1e30],
        }
    )
    stream = model.stream()
    for event in strange.drop("user_id").to_dicts():
        stream.push("u", {name: value for name, value in event.items() if value is not None})
    assert np.abs(stream.state("u") - model.embed(strange)[0]).max() <= 1e-5
    assert stream.recommend("u", k=3).height == 3
    stream.push("v", {"timestamp": START, "item_id": float("nan")})
    stream.push("w", {"timestamp": START, "item_id": None})
    assert (stream.state("v") == stream.state("w")).all()


def test_a_value_that_cannot_be_read_is_a_sentence(fitted):
    stream = fitted("gru").stream()
    with pytest.raises(DataError, match="'amount' is 'much'"):
        stream.push("u", {"timestamp": START, "item_id": "i1", "amount": "much"})
    assert "u" not in stream


def test_integers_name_the_items_of_a_log_of_integers(log):
    numbered = log.with_columns(item_id=pl.col("item_id").str.slice(1).cast(pl.Int32) + 100)
    model = SequenceModel(
        NextEvent(),
        GRU(hidden_size=8),
        data=Data(fields={"item_id": {"kind": "category", "min_count": 1}}, max_length=99),
        split=NextSplit("none"),
        training=Training(epochs=1, tracker=None, device="cpu"),
        options=NextOptions(baselines=()),
    ).fit(numbered)
    stream = model.stream()
    for event in events_of(numbered, "u3"):
        stream.push("u3", event)
    assert np.abs(stream.state("u3") - model.embed(numbered.filter(pl.col("user_id") == "u3"))[0]).max() <= 1e-5
    assert stream.recommend("u3", k=2)["item_id"].dtype == pl.Int64


def test_an_unknown_user_and_a_model_that_must_be_told_are_sentences(fitted, log):
    with pytest.raises(DataError, match="no event of user 'nobody'"):
        fitted("gru").stream().recommend("nobody")
    must = SequenceModel(
        NextEvent(query_time=1.0),
        GRU(hidden_size=8),
        split=NextSplit("none"),
        training=Training(epochs=1, tracker=None, device="cpu"),
        options=NextOptions(baselines=()),
    ).fit(log)
    with pytest.raises(ConfigError, match="must be told"):
        must.stream()
