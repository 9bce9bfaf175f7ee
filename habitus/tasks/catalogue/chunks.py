"""Cut rows into chunks whose logits stay in the cache of a CPU.

The logits of a batch (6,400 targets x 3,414 items: 87 MB) would be written to memory and read back by every step of
the loss. A chunk of about 3 MB stays near the cores; smaller ones lose more to the start of each product than they
gain. Knows nothing about losses.
"""

from __future__ import annotations

from collections.abc import Iterator

_CHUNK_BYTES = 3 << 20
_FEWEST, _MOST = 32, 4096


def rows_in_cache(width: int, itemsize: int = 4) -> int:
    """Return how many rows of `width` logits make a chunk.

    >>> rows_in_cache(3414), rows_in_cache(12_000), rows_in_cache(200_000)
    (230, 65, 32)
    """
    return min(max(_CHUNK_BYTES // max(width * itemsize, 1), _FEWEST), _MOST)


def chunks(n: int, rows: int) -> Iterator[slice]:
    """Yield slices of at most `rows` rows that cover n.

    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))
