"""A spectrum to step vectors, with the same small patterns sought at every height of it.

    frames (T, M) --conv over time and bands--> max over neighbouring bands --conv--> max --linear--> steps (T, D)

Another voice has the same vowels a little higher or lower. A convolution over all bands at once (`frames.py`) must
learn each pattern again at every height; one whose weights are shared along the bands, with a maximum over neighbours
after it, takes the height out step by step (Abdel-Hamid et al. 2014, "Convolutional neural networks for speech
recognition", section III). Differs from the paper: weights are shared over all bands, and a step keeps its place in
time. Costs several times what `frames.py` does, which is why `transcribe`, with twice the frames, keeps that one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.frames import Augment, heard

_FRAMES, _BANDS = 5, 7  # that the first convolution sees
_NEAR, _FAR = 16, 32  # patterns of the first and the second convolution
_POOLED = 8  # bands that become one: a stride of 2, two maxima over 2


class SpectrumEmbedding(nn.Module):
    """Embed frames of sound: (B, T, M) -> (B, T, D).

    Args:
        n_bands: M.
        width: D.
        augment: changes in training; None makes none.
    """

    def __init__(self, n_bands: int, width: int, augment: Augment | None = None) -> None:
        super().__init__()
        self.augment = augment
        self.near = nn.Conv2d(1, _NEAR, (_FRAMES, _BANDS), stride=(1, 2), padding=(_FRAMES // 2, _BANDS // 2))
        self.far = nn.Conv2d(_NEAR, _FAR, 3, padding=1)
        self.mix = nn.Linear(_FAR * -(-n_bands // _POOLED), width)

    def forward(self, x_BTM: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return step vectors; padded frames are not read."""
        x_BTM = heard(x_BTM, is_step_BT, self.augment if self.training else None)
        near = _halved(F.relu(self.near(x_BTM[:, None]))) * is_step_BT[:, None, :, None]  # (B, 16, T, M / 4)
        far = _halved(F.relu(self.far(near)))  # (B, 32, T, M / 8)
        return self.mix(far.transpose(1, 2).flatten(2))


def _halved(x: Tensor) -> Tensor:
    """Return the larger of each two neighbouring bands, the last alone if they are odd."""
    return F.max_pool2d(x, (1, 2), ceil_mode=True)
