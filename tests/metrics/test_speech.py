import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.metrics.speech import edit_distance, speech_differences, speech_metrics

TRUTH = ["one two three", "four", "five six", "seven eight nine zero"]
HEARD = ["one to three", "for", "five", "seven eight eight nine zero"]


def slow_distance(a, b):
    """The table of Wagner and Fischer, cell by cell."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            kept = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            table[i, j] = min(kept, table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[len(a), len(b)]


@settings(max_examples=60, deadline=None)
@given(st.text("abc ", max_size=9), st.text("abcd", max_size=9))
def test_the_distance_is_that_of_the_table(a, b):
    assert edit_distance(a, b) == slow_distance(a, b) == edit_distance(b, a)


def test_the_rates_are_those_of_jiwer():
    jiwer = pytest.importorskip("jiwer")
    found = speech_metrics(TRUTH, HEARD)
    assert found["wer"].value == pytest.approx(jiwer.wer(TRUTH, HEARD))
    assert found["cer"].value == pytest.approx(jiwer.cer(TRUTH, HEARD))


def test_the_rates_by_hand():
    """Errors in words: 1 of 3, 1 of 1, 1 of 2, 1 of 4."""
    found = speech_metrics(TRUTH, HEARD)
    assert found["wer"].value == 4 / 10 and found["exact"].value == 0.0
    assert found["wer"].low <= 0.4 <= found["wer"].high


def test_the_interval_covers_utterances_drawn_again():
    rng = np.random.default_rng(0)
    truth = ["a"] * 400
    answer = ["a" if right else "b" for right in rng.random(400) < 0.8]
    found = speech_metrics(truth, answer)["wer"]
    spread = 1.96 * np.sqrt(0.2 * 0.8 / 400)
    assert found.high - found.low == pytest.approx(2 * spread, rel=0.2)


def test_differences_are_paired():
    same = speech_differences(TRUTH, HEARD, HEARD)
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in same.values())
    better = speech_differences(TRUTH, TRUTH, HEARD)
    assert better["wer"].value == pytest.approx(-0.4) and better["wer"].high < 0


def test_no_words_leave_the_rate_undefined():
    assert not speech_metrics([""], ["a"])["wer"].is_defined
