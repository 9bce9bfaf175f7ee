"""The GRU's options: what cannot work is refused in a sentence. Its arithmetic is compared in tests/parity."""

import pytest
import torch

from habitus.backbones import GRU
from habitus.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 0}, "must be 1 or more"),
        ({"n_layers": 0}, "must be 1 or more"),
        ({"hidden_size": 7, "bidirectional": True}, "use an even one"),
        ({"pooling": "cls"}, "needs a Transformer"),
        ({"pooling": "sum"}, "mean"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
    ],
)
def test_options_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        GRU(**options)


def test_only_one_way_is_causal():
    assert GRU().is_causal and not GRU(bidirectional=True).is_causal


def test_layers_are_as_wide_as_asked():
    stack = GRU(hidden_size=6, n_layers=2, bidirectional=True).build()
    batch = type("B", (), {"lengths": torch.tensor([3, 2])})
    assert stack(torch.zeros(2, 3, 6), batch).shape == (2, 3, 6)
