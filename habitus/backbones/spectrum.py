"""A spectrum to step vectors, with the same small patterns sought at every height of it.

    frames (T, M) --4 x [conv over time and bands, batch norm, ReLU]--> max over all bands --> steps (T, D)
                     between them the larger of each two neighbouring bands, once also of two frames

Another voice has the same vowels a little higher or lower. A convolution over all bands at once (`frames.py`) must
learn each pattern again at every height; one whose weights are shared along the bands, with a maximum over neighbours
after it, takes the height out step by step (Abdel-Hamid et al. 2014, "Convolutional neural networks for speech
recognition", section III). Differs from the paper: weights are shared over all bands, four layers of them, the last
maximum is over all bands, and every frame takes what was found where it stands. In training a recording is played
slower or faster before, and each frame then read where it went, so that nothing of a word is cut off. Costs several
times what `frames.py` does, which is why `transcribe`, with twice the frames, keeps that one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.frames import Augment, heard, played

_LAYERS = ((24, 5), (48, 3), (48, 3))  # patterns, and how many frames and bands one reads; the last layer has D of 3
_HALVED = 2  # from this layer on a step is the larger of two frames; the last layer sees 15 frames, 300 ms


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
        sizes = (*_LAYERS, (width, 3))
        n_inputs = [1, *(n_patterns for n_patterns, _ in _LAYERS)]
        layers = nn.ModuleList(Patterns(n, *layer) for n, layer in zip(n_inputs, sizes, strict=True))
        self.layers = layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU

    def forward(self, x_BTM: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return step vectors, 0 or more; padded frames are not read."""
        augment, lengths_B = self.augment if self.training else None, is_step_BT.sum(1)
        x, n_frames_B = heard(x_BTM, is_step_BT, augment), lengths_B
        if augment is not None and augment.speed:
            n_frames_B = augment.n_played(lengths_B)
            x = played(x, lengths_B, n_frames_B)
        found_BTC = self._patterns(x, n_frames_B)
        return found_BTC.gather(1, _places(x_BTM, lengths_B, n_frames_B).expand(-1, -1, found_BTC.shape[2]))

    def _patterns(self, x_BTM: Tensor, n_frames_B: Tensor) -> Tensor:
        """Return how strongly each pattern stands in each two frames, wherever in the spectrum, (B, T / 2, C)."""
        x = x_BTM[:, None]
        for number, layer in enumerate(self.layers):
            if number:
                x = F.max_pool2d(x, (2 if number == _HALVED else 1, 2), ceil_mode=True)
            n_steps_B = n_frames_B if number < _HALVED else (n_frames_B + 1) // 2
            is_step_BT = torch.arange(x.shape[2], device=x.device) < n_steps_B[:, None]
            x = layer(x) * is_step_BT[:, None, :, None]
        return x.amax(3).transpose(1, 2)


def _places(x_BTM: Tensor, lengths_B: Tensor, n_frames_B: Tensor) -> Tensor:
    """Return where among every two played frames each frame of the recording went, int64 (B, T, 1)."""
    frame_T = torch.arange(x_BTM.shape[1], device=x_BTM.device)
    share_BT = (frame_T / (lengths_B[:, None] - 1).clamp_min(1)).clamp_max(1.0)
    return ((share_BT * (n_frames_B[:, None] - 1)).round().long() // 2)[..., None]


class Patterns(nn.Module):
    """One layer: how much of each pattern stands at each frame and band, (B, C, T, M) -> (B, C', T, M).

    Args:
        n_inputs, n_patterns: C and C'.
        size: frames and bands of a pattern.
    """

    def __init__(self, n_inputs: int, n_patterns: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_inputs, n_patterns, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(n_patterns)

    def forward(self, x: Tensor) -> Tensor:
        """Return the patterns, 0 or more."""
        found = self.conv(x)
        if self.training and found.numel() == found.shape[1]:  # one frame of one band has no deviation
            norm = self.norm
            return F.relu(F.batch_norm(found, norm.running_mean, norm.running_var, norm.weight, norm.bias))
        return F.relu(self.norm(found))
