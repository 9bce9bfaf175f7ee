"""Frames of sound: from bands of a spectrum to step vectors, and small changes of them in training.

A frame's level is taken relative to its recording's, a convolution over neighbouring frames sees how the spectrum
moves, and in training every recording is changed a little, which is what carries over to voices and rooms that
training never heard: masks over bands and over time and a warp of time (SpecAugment, Park et al. 2019,
arXiv:1904.08779, section 2), a warp of the frequency axis as of a longer or shorter throat (Jaitly and Hinton 2013,
"Vocal tract length perturbation"), and another microphone and noise. Differs from the papers: warps are linear
interpolations of log-mel frames, with one bend in time; masks take up a share of the recording or of the bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CONTEXT = 5  # frames that the convolution sees
_CURVE_KNOTS = 6  # of a microphone


@dataclass(frozen=True)
class Augment:
    """How much frames are changed in training; 0 turns a part off. Bands are in training deviations.

    The defaults suit single words of a few voices and some thousand steps of training; longer texts and longer training
    bear masks.

    Args:
        warp_bands: most by which the frequency axis is stretched or squeezed, as a share.
        warp_time: most by which the middle of the recording moves, as a share of its length.
        speed: most by which the recording is played slower or faster, as a share of its length; only for a network that
            asks for `n_played` and `played` (`spectrum.py`).
        mask_bands: most of the bands in a mask, as a share; two masks.
        mask_time: most of the frames in a mask, as a share; one mask.
        level: deviation of a smooth curve over the bands, as another microphone and room have it.
        noise: most deviation of the noise added to every number.

    >>> Augment().warp_bands
    0.2
    """

    warp_bands: float = 0.2
    warp_time: float = 0.1
    speed: float = 0.25
    mask_bands: float = 0.0
    mask_time: float = 0.0
    level: float = 0.6
    noise: float = 0.1

    def __call__(self, x_BTM: Tensor, lengths_B: Tensor) -> Tensor:
        """Return changed frames, same shape; the random numbers are torch's."""
        x = warped_bands(x_BTM, 1 + self.warp_bands * _uniform(x_BTM)) if self.warp_bands else x_BTM
        if self.warp_time:
            x = warped_time(x, lengths_B, 0.5 + self.warp_time * _uniform(x))
        if self.level:
            x = x + self.level * _curve(x)
        if self.noise:
            strength = self.noise * torch.rand(len(x), 1, 1, device=x.device)
            x = x + torch.randn_like(x) * strength
        return self._masked(x, lengths_B)

    def n_played(self, lengths_B: Tensor) -> Tensor:
        """Return how many frames each recording has at another speed, int64 (B,)."""
        factor_B = 1 + self.speed * (torch.rand(len(lengths_B), device=lengths_B.device) * 2 - 1)
        return (lengths_B * factor_B).round().long().clamp_min(1)

    def _masked(self, x: Tensor, lengths_B: Tensor) -> Tensor:
        """Zero a block of frames and two blocks of bands."""
        n_bands = torch.full_like(lengths_B, x.shape[2])
        hidden = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
        if self.mask_time:
            hidden |= _block(lengths_B, x.shape[1], self.mask_time)[:, :, None]
        for _ in range(2 if self.mask_bands else 0):
            hidden |= _block(n_bands, x.shape[2], self.mask_bands)[:, None, :]
        return x.masked_fill(hidden, 0.0)


class FrameEmbedding(nn.Module):
    """Embed frames of sound: (B, T, M) -> (B, T, D).

    Args:
        n_bands: M.
        width: D.
        augment: changes in training; None makes none.
        stride: frames that become one step; T / stride steps come out, rounded up.
    """

    def __init__(self, n_bands: int, width: int, augment: Augment | None = None, stride: int = 1) -> None:
        super().__init__()
        self.augment, self.stride = augment, stride
        self.near = nn.Conv1d(n_bands, width, _CONTEXT, stride=stride, padding=_CONTEXT // 2)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)

    def forward(self, x_BTM: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return step vectors; padded frames are not read."""
        x = heard(x_BTM, is_step_BT, self.augment if self.training else None)
        near_BTD = self.near(x.transpose(1, 2)).transpose(1, 2)
        return self.mix(F.gelu(self.norm(near_BTD)))

    def n_steps(self, n_frames: Tensor) -> Tensor:
        """Return how many steps come of so many frames."""
        return (n_frames + self.stride - 1) // self.stride


def heard(x_BTM: Tensor, is_step_BT: Tensor, augment: Augment | None) -> Tensor:
    """Return frames as a network reads them: without their recording's level, changed or not, padding 0."""
    x = levelled(x_BTM, is_step_BT)
    if augment is not None:
        x = augment(x, is_step_BT.sum(1))
    return x.masked_fill(~is_step_BT[..., None], 0.0)


def levelled(x_BTM: Tensor, is_step_BT: Tensor) -> Tensor:
    """Subtract from each recording its mean over frames and bands: how loud it is says nothing."""
    count_B = is_step_BT.sum(1) * x_BTM.shape[2]
    total_B = x_BTM.masked_fill(~is_step_BT[..., None], 0.0).sum((1, 2))
    return x_BTM - (total_B / count_B)[:, None, None]


def warped_bands(x_BTM: Tensor, factor_B11: Tensor) -> Tensor:
    """Stretch the frequency axis: band k takes the value at k * factor, between two bands by a straight line.

    >>> warped_bands(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]), torch.tensor([[[0.5]]])).tolist()
    [[[0.0, 0.5, 1.0, 1.5]]]
    """
    last = x_BTM.shape[2] - 1
    at = (torch.arange(last + 1, device=x_BTM.device) * factor_B11).clamp(0, last)
    low = at.floor().long().clamp_max(max(last - 1, 0))
    share = (at - low).expand(x_BTM.shape)
    low = low.expand(x_BTM.shape)
    return torch.lerp(x_BTM.gather(2, low), x_BTM.gather(2, (low + 1).clamp_max(last)), share)


def warped_time(x_BTM: Tensor, lengths_B: Tensor, middle_B11: Tensor) -> Tensor:
    """Move the middle of each recording to a share of its length, both halves by straight lines.

    The ends stay.

    >>> x = torch.arange(5.0)[None, :, None]
    >>> (3 * warped_time(x, torch.tensor([5]), torch.tensor([[[0.25]]]))).round().flatten().tolist()
    [0.0, 6.0, 8.0, 10.0, 12.0]
    """
    n_frames = x_BTM.shape[1]
    end = (lengths_B - 1).clamp_min(1)[:, None].to(x_BTM.dtype)
    place = torch.arange(n_frames, device=x_BTM.device) / end
    middle = middle_B11[:, :, 0]
    source = torch.where(place < middle, 0.5 * place / middle, 0.5 + 0.5 * (place - middle) / (1 - middle))
    return _at(x_BTM, (source * end).clamp(torch.zeros_like(end), end), end)


def played(x_BTM: Tensor, lengths_B: Tensor, n_frames_B: Tensor) -> Tensor:
    """Return each recording in so many frames, by straight lines between neighbours, (B, most of them, M); padding 0.

    >>> played(torch.tensor([[[0.0], [2.0]]]), torch.tensor([2]), torch.tensor([3])).flatten().tolist()
    [0.0, 1.0, 2.0]
    """
    end = (lengths_B - 1).clamp_min(1)[:, None].to(x_BTM.dtype)
    frame_T = torch.arange(int(n_frames_B.max()), device=x_BTM.device)
    share_BT = (frame_T / (n_frames_B[:, None] - 1).clamp_min(1)).clamp_max(1.0)
    found = _at(x_BTM, share_BT * end, end)
    return found.masked_fill((frame_T >= n_frames_B[:, None])[..., None], 0.0)


def _at(x_BTM: Tensor, at_BS: Tensor, end_B1: Tensor) -> Tensor:
    """Return frames at places between frames, (B, S, M); never one after the end."""
    last = x_BTM.shape[1] - 1
    at = at_BS.clamp_max(last)
    low = at.floor().long()
    high = torch.minimum(low + 1, end_B1.long().clamp_max(last))
    below, above = (x_BTM.gather(1, one[..., None].expand(-1, -1, x_BTM.shape[2])) for one in (low, high))
    return torch.lerp(below, above, (at - low)[..., None])


def _uniform(x: Tensor) -> Tensor:
    """Return numbers between -1 and 1, one a recording, (B, 1, 1)."""
    return torch.rand(len(x), 1, 1, device=x.device) * 2 - 1


def _curve(x: Tensor) -> Tensor:
    """Return a smooth random curve over the bands for each recording, (B, 1, M)."""
    knots_B1K = torch.randn(len(x), 1, _CURVE_KNOTS, device=x.device)
    return F.interpolate(knots_B1K, x.shape[2], mode="linear", align_corners=True)


def _block(sizes_B: Tensor, n: int, most: float) -> Tensor:
    """Return bool (B, n): True in a block of up to a share of each row's size, within it."""
    width = torch.rand(len(sizes_B), device=sizes_B.device) * most * sizes_B
    start = torch.rand(len(sizes_B), device=sizes_B.device) * (sizes_B - width)
    place = torch.arange(n, device=sizes_B.device)[None]
    return (place >= start[:, None]) & (place < (start + width)[:, None])
