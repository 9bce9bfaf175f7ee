import numpy as np
import pytest
import torch
import torch.nn.functional as F

from habitus.backbones.frames import Augment, played
from habitus.backbones.spectrum import SpectrumEmbedding, _places

B, T, M, D = 3, 11, 24, 6


def frames(n_bands=M, seed=0):
    return torch.randn(B, T, n_bands, generator=torch.Generator().manual_seed(seed))


def steps(lengths):
    return torch.arange(T) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("n_bands", [1, 2, 9, 24, 40])
def test_padding_and_company_change_nothing(n_bands):
    x, lengths = frames(n_bands), [11, 7, 4]
    module = SpectrumEmbedding(n_bands, D).eval()
    whole = module(x, steps(lengths))
    noisy = module(x + 100 * (~steps(lengths))[..., None], steps(lengths))
    assert whole.shape == (B, T, D)
    for row, n in enumerate(lengths):
        alone = module(x[row : row + 1, :n], torch.ones(1, n, dtype=torch.bool))
        torch.testing.assert_close(whole[row, :n], alone[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(noisy[row, :n], alone[0], rtol=0, atol=1e-5)


def test_a_step_is_what_loops_over_time_and_bands_give():
    module, x_TM = lived(SpectrumEmbedding(M, D)), frames()[0]
    x = (x_TM - x_TM.mean())[None].numpy()
    for number, layer in enumerate(module.layers):
        x = x.reshape(*x.shape[:2], -1, 2).max(-1) if number else x  # the larger of two bands
        if number == 2:  # and of two frames, the last one alone
            x = np.concatenate([x, x[:, -1:]], 1).reshape(len(x), -1, 2, x.shape[2]).max(2)
        x = convolved(x, layer)
    expected = torch.from_numpy(x.max(2).T).float()[[step // 2 for step in range(T)]]
    torch.testing.assert_close(module(x_TM[None], steps([T])[:1])[0], expected, rtol=0, atol=1e-4)


def lived(module, seed=2):
    """Return a module in use whose norms have seen something."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.layers:
        layer.norm.running_mean = torch.randn(layer.norm.num_features, generator=generator)
        layer.norm.running_var = torch.rand(layer.norm.num_features, generator=generator) + 0.5
    return module.eval()


def convolved(x, layer):
    """(channels, T, M) -> relu of the normed convolution, each sum written out; outside stands 0."""
    weight, norm = layer.conv.weight.detach().numpy(), layer.norm
    n_out, _, size, _ = weight.shape
    half = size // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half)))
    found = np.zeros((n_out, *x.shape[1:]))
    for step in range(x.shape[1]):
        for band in range(x.shape[2]):
            patch = padded[:, step : step + size, band : band + size]
            found[:, step, band] = (weight * patch).sum((1, 2, 3))
    mean, deviation = norm.running_mean.numpy(), np.sqrt(norm.running_var.numpy() + norm.eps)
    return np.maximum((found - mean[:, None, None]) / deviation[:, None, None], 0)


def test_a_pattern_is_found_at_every_height():
    module = lived(SpectrumEmbedding(128, D))
    x = torch.zeros(1, T, 128)
    x[0, 4:7, 56:60] = 9 * torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    is_step = steps([T])[:1]
    low, high = (module(x.roll(by, 2), is_step) for by in (0, 8))
    torch.testing.assert_close(low, high, rtol=0, atol=1e-4)
    assert not torch.allclose(low, module(x.roll(4, 1), is_step), atol=1e-3)  # but when it comes counts


def test_a_single_frame_of_a_single_band_can_be_learned_from():
    module = SpectrumEmbedding(1, D).train()
    assert module(torch.randn(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.3])
def test_at_another_speed_each_frame_reads_where_it_went(speed):
    lengths = torch.tensor([40, 21, 1])
    n_frames = (lengths * speed).round().long().clamp_min(1)
    count = torch.arange(40.0)[None, :, None].expand(3, -1, 1)  # each frame says which one it is
    went = played(count, lengths, n_frames)
    of_two = F.max_pool2d(went[:, None], (2, 1), ceil_mode=True)[:, 0]
    found = of_two.gather(1, _places(count, lengths, n_frames))
    for row, length in enumerate(lengths.tolist()):
        assert (found[row, :length, 0] - torch.arange(length)).abs().max() <= 2.0 / speed


def test_training_keeps_the_number_of_steps():
    torch.manual_seed(0)
    module, is_step = SpectrumEmbedding(M, D, Augment(speed=0.5)).train(), steps([11, 7, 1])
    assert all(module(frames(), is_step).shape == (B, T, D) for _ in range(5))


def test_training_changes_frames_the_same_way_for_the_same_seed():
    module, is_step = SpectrumEmbedding(M, D, Augment()).train(), steps([11, 7, 4])
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(module(frames(), is_step))
    assert (found[0] == found[1]).all() and not (found[0] == found[2]).all()
    module.eval()
    assert (module(frames(), is_step) == module(frames(), is_step)).all()
