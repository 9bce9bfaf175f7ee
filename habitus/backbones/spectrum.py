"""A spectrum to step vectors, with the same small patterns sought at every height of it.

    frames (T, M) --3 x [convolution over time and bands, batch norm, ReLU, maximum over neighbouring bands]-->
                  --maximum over all bands, dropout, linear--> steps (T, D)

Another voice has the same vowels a little higher or lower. A convolution over all bands at once (`frames.py`) must
learn each pattern again at every height; one whose weights are shared along the bands, with maxima over neighbours
after it, takes the height out step by step (Abdel-Hamid et al. 2014, "Convolutional neural networks for speech
recognition", section III). Batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) in between is what four voices were
learned with rather than by heart. Differs from the first paper: weights are shared over all bands, what is left of them
after two halvings is one maximum, and a step keeps its place in time. Costs ten times what `frames.py` does, which is
why `transcribe`, with twice the frames, keeps that one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.frames import Augment, heard

_FRAMES, _BANDS = 5, 5  # that the first convolution sees; the others see 3 of each
_PATTERNS = (16, 32, 64)  # of each convolution
_DROPOUT = 0.3


class SpectrumEmbedding(nn.Module):
    """Embed frames of sound: (B, T, M) -> (B, T, D).

    Args:
        n_bands: M.
        width: D.
        augment: changes in training; None makes none.
    """

    def __init__(self, n_bands: int, width: int, augment: Augment | None = None) -> None:
        super().__init__()
        near, middle, far = _PATTERNS
        self.augment = augment
        self.near = _Patterns(1, near, (_FRAMES, _BANDS))
        self.middle = _Patterns(near, middle, (3, 3))
        self.far = _Patterns(middle, far, (3, 3))
        self.dropout = Dropout(_DROPOUT)
        self.mix = nn.Linear(far, width)

    def forward(self, x_BTM: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return step vectors; padded frames are not read."""
        x_B1TM = heard(x_BTM, is_step_BT, self.augment if self.training else None)[:, None]
        near = _halved(self.near(x_B1TM, is_step_BT))
        middle = _halved(self.middle(near, is_step_BT))
        far_BTP = self.far(middle, is_step_BT).amax(3).transpose(1, 2)
        return self.mix(self.dropout(far_BTP))


class _Patterns(nn.Module):
    """How much each of some patterns is there at every place: (B, P, T, M) -> (B, P', T, M), 0 or more, padding 0."""

    def __init__(self, n_in: int, n_out: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.find = nn.Conv2d(n_in, n_out, size, padding=(size[0] // 2, size[1] // 2), bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor, is_step_BT: Tensor) -> Tensor:
        return F.relu(self.norm(self.find(x))) * is_step_BT[:, None, :, None]


def _halved(x: Tensor) -> Tensor:
    """Return the larger of each two neighbouring bands, the last alone if they are odd."""
    return F.max_pool2d(x, (1, 2), ceil_mode=True)
