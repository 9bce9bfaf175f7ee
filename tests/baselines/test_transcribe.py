import numpy as np
import pytest

from habitus.baselines.transcribe import SPEECH_RIVALS, CommonestTranscript, NearestUtterance
from habitus.baselines.transcribe.nearest import warped_distances
from habitus.data.utterances import Utterances, stretched


def utterances(frames, texts):
    lengths = [len(one) for one in frames]
    return Utterances(
        np.concatenate(frames), np.cumsum([0, *lengths]), tuple(f"u{i}" for i in range(len(texts))), tuple(texts)
    )


def slow_distance(a, b):
    """The recursion of Sakoe and Chiba, cell by cell."""
    cost = {}
    for i in range(len(a)):
        for j in range(len(b)):
            before = [cost[at] for at in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if at in cost]
            cost[i, j] = np.linalg.norm(a[i] - b[j]) + (min(before) if before else 0.0)
    return cost[len(a) - 1, len(b) - 1]


def test_distances_are_those_of_the_recursion():
    rng = np.random.default_rng(0)
    one, others = rng.normal(size=(7, 3)), rng.normal(size=(5, 9, 3))
    np.testing.assert_allclose(
        warped_distances(one, others), [slow_distance(one, other) for other in others], rtol=1e-6
    )


def test_a_slower_word_is_known_again():
    rng = np.random.default_rng(1)
    words = [rng.normal(size=(12, 4)).astype(np.float32).cumsum(0) for _ in range(6)]
    train = utterances(words, [f"word {i}" for i in range(6)])
    slower = utterances([stretched(word, 17) for word in words], [""] * 6)
    rival = NearestUtterance().fit(train, train)
    assert rival.answer(slower) == [f"word {i}" for i in range(6)]


def test_the_commonest_is_said_always_and_ties_go_to_the_first():
    frames = [np.zeros((2, 1), np.float32)] * 5
    train = utterances(frames, ["b", "a", "b", "a", "c"])
    assert CommonestTranscript().fit(train, train).answer(train) == ["a"] * 5


@pytest.mark.parametrize("name", SPEECH_RIVALS)
def test_a_restored_rival_says_the_same(name):
    rng = np.random.default_rng(2)
    train = utterances([rng.normal(size=(n, 3)).astype(np.float32) for n in (4, 30, 9)], ["a", "b", "b"])
    rival = SPEECH_RIVALS[name]().fit(train, train)
    again = SPEECH_RIVALS[name].from_state(*rival.to_state())
    assert again.answer(train) == rival.answer(train) and again.answer(train.take(np.zeros(0, int))) == []
