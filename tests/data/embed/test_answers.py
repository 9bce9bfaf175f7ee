"""Ranks beside a loop over candidates."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from habitus.data.embed import answers as module
from habitus.data.embed.answers import answers
from habitus.data.embed.rows import EmbedRows
from habitus.data.pairs.ragged import Ragged
from habitus.data.text.encode import token_rows


def units(kind, target, group):
    n = len(target)
    side = token_rows("text", Ragged.of([[3]] * n), np.ones(n, np.int64))
    right = side if kind == "classes" else replace(side)
    return EmbedRows(kind, side, right, np.array(target, np.float32), np.array(group))


def unit(rng, n):
    found = rng.normal(size=(n, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_right_side_is_looked_for_among_distinct_others():
    rng = np.random.default_rng(0)
    left, right = unit(rng, 6), unit(rng, 6)
    group = [[0, 0], [0, 1], [1, 1], [2, 2], [3, 3], [4, 4]]  # left 0 has two right sides; right 1 stands twice
    right[2], left[1] = right[1], left[0]
    rows = units("pairs", [1, 1, 1, 1, 0, 1], group)
    scores, wanted = left @ right.T, []
    for i, (own_left, own_right) in enumerate(group):
        also = {two for (one, two), t in zip(group, rows.target, strict=True) if one == own_left and t}
        others = {r: scores[i, j] for j, (_, r) in enumerate(group) if r not in also | {own_right}}
        wanted.append(1 + sum(score > scores[i, i] for score in others.values()) if rows.target[i] else np.nan)
    np.testing.assert_array_equal(answers(rows, left, right), wanted)


def test_ties_stand_in_the_middle():
    rows = units("pairs", [1, 1, 1], [[0, 0], [1, 1], [2, 2]])
    same = np.ones((3, 1))
    np.testing.assert_array_equal(answers(rows, same, same), [2, 2, 2])


def test_a_class_is_found_by_its_nearest_other_text_and_copies_do_not_help():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0], [0.5, 0.5]], float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = units("classes", [0, 1, 1, 0, 2], [[0, 0], [1, 1], [2, 2], [0, 0], [3, 3]])
    found = answers(rows, vectors, vectors)
    assert np.isnan(found[[0, 3, 4]]).all()  # the only other text of class 0 is a copy, class 2 has one text
    assert found[1] == 4.0  # both texts of class 0 and the one of class 2 lie nearer than its own


@pytest.mark.parametrize("kind", ["scores", "pairs", "classes"])
def test_sparse_vectors_and_small_blocks_give_the_same(kind, monkeypatch):
    rng = np.random.default_rng(1)
    left, right = unit(rng, 9), unit(rng, 9)
    right = left if kind == "classes" else right
    rows = units(kind, np.arange(9) % 3 if kind != "pairs" else np.ones(9), np.arange(18).reshape(9, 2))
    whole = answers(rows, left, right)
    monkeypatch.setattr(module, "_AT_ONCE", 18)
    np.testing.assert_array_equal(answers(rows, left, right), whole)
    np.testing.assert_allclose(answers(rows, sparse.csr_matrix(left), sparse.csr_matrix(right)), whole)
