"""Writing answers: beam search against trying every sequence, greedy against its loop, drawing against the shares."""

import itertools
import math

import numpy as np
import pytest
import torch

from habitus.backbones.encoder_decoder import DecoderState
from habitus.data.pairs.subwords import END, START
from habitus.errors import ConfigError
from habitus.tasks.decoding import Decoding, length_penalty, write
from habitus.tasks.sampling import Sampling

V, LONGEST = 6, 4  # ids 4 and 5 are tokens, 3 ends; 0 to 2 are never written
NEVER = torch.tensor([1.0, 1.0, 1.0, 0, 0, 0]) * 50  # the network likes them best, and in vain


class Table:
    """A network whose next token depends on the row, on how many tokens there are, and on the last one."""

    def __init__(self, n_rows, seed, scale=1.5):
        generator = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(n_rows, LONGEST + 1, V, V, generator=generator) * scale + NEVER
        self.likes = torch.randn(V, V, generator=generator)  # of the token before the last
        self.n_calls = self.n_read = 0

    def start(self):
        return DecoderState(0, (torch.arange(len(self.logits)),), (torch.full((len(self.logits),), START),))

    def step(self, last, state):
        self.n_calls, self.n_read = self.n_calls + 1, self.n_read + len(last)
        ((rows,), (before,)) = state.source, state.own
        logits = self.logits[rows, state.n_steps, last] + self.likes[before]  # a state that strays shows
        return logits, DecoderState(state.n_steps + 1, state.source, (last,))

    def log_probability(self, row, ids):
        """Of a whole answer, its end mark included."""
        total, before, last = 0.0, START, START
        for position, one in enumerate(ids):
            logits = self.logits[row, position, last] + self.likes[before]
            logits[:END] = -math.inf
            total, before, last = total + float(logits.log_softmax(-1)[one]), last, one
        return total


def every_answer():
    """Every sequence that ends, and those that are as long as may be."""
    for length in range(LONGEST + 1):
        for tokens in itertools.product((4, 5), repeat=length):
            if length < LONGEST:
                yield (*tokens, END)
            else:
                yield tokens


def written(table, decoding):
    return write(table.step, table.start(), len(table.logits), decoding, LONGEST, V)


def without_end(ids):
    return [one for one in ids if one != END]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_trying_everything_finds(seed, alpha):
    table = Table(5, seed)
    found = written(table, Decoding("beam", beam_size=64, length_penalty=alpha))
    for row in range(5):
        scored = {ids: table.log_probability(row, ids) / length_penalty(len(ids), alpha) for ids in every_answer()}
        best = max(scored, key=scored.get)
        assert found.ids[row] == without_end(best)
        assert found.scores[row] == pytest.approx(scored[best], abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_one_is_greedy(seed):
    one, greedy = (written(Table(7, seed), Decoding(method, beam_size=1)) for method in ("beam", "greedy"))
    assert one.ids == greedy.ids


@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_best_token_each_time(seed):
    table = Table(6, seed)
    found = written(table, Decoding("greedy"))
    for row in range(6):
        ids, before, last = [], START, START
        while len(ids) < LONGEST:
            logits = table.logits[row, len(ids), last] + table.likes[before]
            before, last = last, int(logits[END:].argmax()) + END
            if last == END:
                break
            ids.append(last)
        assert found.ids[row] == ids
        ended = [*ids, END] if len(ids) < LONGEST else ids
        assert found.scores[row] == pytest.approx(table.log_probability(row, ended), abs=1e-5)


@pytest.mark.parametrize("decoding", [Decoding("greedy"), Decoding("beam", 3)], ids=["greedy", "beam"])
def test_a_row_is_answered_the_same_alone_and_in_a_batch(decoding):
    table = Table(8, 3)
    together = written(table, decoding)
    for row in range(8):
        alone = Table(1, 0)
        alone.logits, alone.likes = table.logits[row : row + 1], table.likes
        assert written(alone, decoding).ids == [together.ids[row]]


def test_rows_that_are_done_cost_nothing_more():
    table = Table(8, 0)
    table.logits[:7, 0, START, END] += 100  # seven of eight end at once
    table.logits[7, :, :, END] -= 100
    assert written(table, Decoding("greedy")).ids[:7] == [[]] * 7
    assert table.n_read == 8 + (LONGEST - 1)


def test_a_wider_beam_scores_no_worse():
    for seed in range(10):
        scores = [written(Table(4, seed), Decoding("beam", size, 0.0)).scores for size in (1, 64)]
        assert all(wide >= narrow - 1e-6 for narrow, wide in zip(*scores, strict=True))


def test_drawn_tokens_come_as_often_as_they_should():
    table = Table(1, 1)
    logits = table.logits[0, 0, START] + table.likes[START]
    table.logits = table.logits.expand(4000, -1, -1, -1)
    found = written(table, Decoding("sample", sampling=Sampling(seed=3)))
    logits[:END] = -math.inf
    firsts = np.array([ids[0] if ids else END for ids in found.ids])
    shares = logits.softmax(-1).numpy()
    assert [(firsts == one).mean() for one in range(V)] == pytest.approx(shares.tolist(), abs=0.03)


def test_drawing_is_repeatable_and_at_temperature_0_greedy():
    drawn = [written(Table(9, 2), Decoding("sample", sampling=Sampling(seed=5))).ids for _ in range(2)]
    assert drawn[0] == drawn[1]
    cold = written(Table(9, 2), Decoding("sample", sampling=Sampling(temperature=0)))
    assert cold.ids == written(Table(9, 2), Decoding("greedy")).ids


@pytest.mark.parametrize("options", [{"beam_size": 0}, {"length_penalty": -1.0}, {"method": "best"}])
def test_options_that_cannot_be_right_are_refused(options):
    with pytest.raises(ConfigError):
        Decoding(**options)
