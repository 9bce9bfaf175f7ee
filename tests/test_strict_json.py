"""JSON that comes back as it went out, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus import strict_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
PLAIN = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(PLAIN)
def test_what_goes_out_comes_back_the_same(document):
    data = strict_json.dump(document)
    assert strict_json.parse(data) == document
    assert strict_json.dump(strict_json.parse(data)) == data


@given(st.binary(max_size=60) | st.text(alphabet='[]{}:,"0123456789.eE+-\\uNaIfinty ', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data):
    try:
        document = strict_json.parse(data)
    except ValueError:
        return
    assert strict_json.parse(strict_json.dump(document)) == document


def nested(depth, opened="[", closed="]"):
    return (opened * depth + closed * depth).encode()


BAD = {
    "NaN": b"[NaN]",
    "Infinity": b"[-Infinity]",
    "1e400": b'{"a": 1e400}',
    "duplicate key": b'{"a": 1, "b": {"c": 1, "c": 1}}',
    "lone surrogate": b'["\\ud800"]',
    "lone surrogate in a key": b'{"\\udfff": 1}',
    "5,000 digits": b"[" + b"9" * 5000 + b"]",
    "deep": nested(65),
    "deeper than the stack": nested(1_000_000),
    "deep objects": nested(100_000, '{"a":', "}"),
    "never closed": b"[" * 1_000_000,
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "not UTF-8": b'["\xff"]',
    "empty": b"",
    "two documents": b"{} {}",
    "pickle": b"\x80\x04N.",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_json_does_not_hold_is_refused(data):
    with pytest.raises(ValueError):
        strict_json.parse(data)


class Odd:
    pass


@pytest.mark.parametrize(
    "document",
    [float("nan"), [float("-inf")], {1: "a"}, {None: 1}, {("a",): 1}, ["\ud800"], {"\ud800": 1}, Odd(), b"a", {1, 2}],
)
def test_what_would_not_come_back_the_same_is_not_written(document):
    with pytest.raises(ValueError):
        strict_json.dump({"a": document})


def test_a_circle_is_not_written():
    circle = []
    circle.append(circle)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        strict_json.dump(circle)


def test_the_deepest_that_is_written_is_read():
    document = strict_json.parse(nested(strict_json.MAX_DEPTH))
    assert strict_json.parse(strict_json.dump(document)) == document
