import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.tasks.ctc import BLANK, beam, greedy, steps_needed, text_log_prob
from habitus.tasks.lexicon import Lexicon


def merged(way):
    """Merge repeats, remove blanks: the definition, step by step."""
    kept = [one for number, one in enumerate(way) if number == 0 or one != way[number - 1]]
    return tuple(one for one in kept if one != BLANK)


def by_brute_force(log_probs):
    """The share of every text: the sum over all ways."""
    n_steps, n = log_probs.shape
    shares = {}
    for way in itertools.product(range(n), repeat=n_steps):
        share = math.exp(sum(log_probs[step, one] for step, one in enumerate(way)))
        shares[merged(way)] = shares.get(merged(way), 0.0) + share
    return shares


def drawn(seed, n_steps=5, n=3, sharpness=2.0):
    scores = np.random.default_rng(seed).normal(size=(n_steps, n)) * sharpness
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 3))
def test_a_wide_beam_finds_the_likeliest_of_all_texts(seed, n_steps, n):
    log_probs = drawn(seed, n_steps, n)
    shares = by_brute_force(log_probs)
    assert shares[tuple(beam(log_probs, width=1000))] == pytest.approx(max(shares.values()))


@pytest.mark.parametrize("seed", range(5))
def test_the_share_of_a_text_is_the_sum_over_all_ways(seed):
    log_probs = drawn(seed)
    shares = by_brute_force(log_probs)
    assert sum(shares.values()) == pytest.approx(1.0)
    for text, share in shares.items():
        assert math.exp(text_log_prob(log_probs, text)) == pytest.approx(share)


def test_the_share_of_a_text_is_that_of_torch():
    log_probs = drawn(1, n_steps=9, n=5)
    text = [1, 1, 4, 2]
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(log_probs)[:, None],
        torch.tensor([text]),
        torch.tensor([9]),
        torch.tensor([4]),
        reduction="sum",
    )
    assert text_log_prob(log_probs, text) == pytest.approx(-float(loss))


def test_greedy_by_hand():
    """Steps: a a blank a b b blank."""
    best = [1, 1, 0, 1, 2, 2, 0]
    assert greedy(np.log(np.eye(3)[best] * 0.9 + 0.03)) == [1, 1, 2]
    assert greedy(np.zeros((0, 3))) == [] == beam(np.zeros((0, 3)))


def test_a_sharp_answer_is_the_same_for_both_decoders():
    for seed in range(20):
        log_probs = drawn(seed, n_steps=12, n=4, sharpness=40.0)
        assert greedy(log_probs) == beam(log_probs, width=4)


def test_a_text_that_is_too_long_has_no_share():
    log_probs = drawn(0, n_steps=3)
    assert steps_needed([1, 1]) == 3 and text_log_prob(log_probs, [1, 1]) > -math.inf
    assert steps_needed([1, 1, 2]) == 4 and text_log_prob(log_probs, [1, 1, 2]) == -math.inf


SPACE = 3
WORDS = [(1,), (1, 2), (2, 2)]


def made_of_words(text):
    """Words with one space between two of them; one may follow the last."""
    parts = [[]]
    for one in text:
        parts.append([]) if one == SPACE else parts[-1].append(one)
    parts = parts[:-1] if not parts[-1] else parts
    return all(tuple(part) in WORDS for part in parts)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_a_wide_beam_finds_the_likeliest_of_all_texts_of_known_words(seed, n_steps):
    log_probs = drawn(seed, n_steps, n=4)
    shares = {text: share for text, share in by_brute_force(log_probs).items() if made_of_words(text)}
    found = tuple(beam(log_probs, width=1000, lexicon=Lexicon(WORDS, SPACE)))
    assert shares[found] == pytest.approx(max(shares.values()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 9), st.integers(1, 3))
def test_a_narrow_beam_writes_whole_words_too(seed, n_steps, width):
    assert made_of_words(beam(drawn(seed, n_steps, n=4), width, Lexicon(WORDS, SPACE)))


def test_a_word_that_the_recording_ends_within_is_cut_back():
    heard = np.log(np.eye(4)[[1, SPACE, 2]] * 0.96 + 0.01)  # "a b", where b is no word
    assert greedy(heard) == [1, SPACE, 2]
    assert beam(heard, 1, Lexicon(WORDS, SPACE)) == [1, SPACE]


def test_without_a_space_a_text_is_one_word():
    log_probs = np.log(np.eye(4)[[1, SPACE, 1]] * 0.96 + 0.01)
    assert beam(log_probs, 100, Lexicon([(1, 2), (1,)], None)) in ([1], [1, 2])
    with pytest.raises(KeyError):
        Lexicon([(1,)], None).after([1, SPACE])
