import numpy as np
import pytest
import torch

from habitus.backbones.frames import Augment
from habitus.backbones.spectrum import SpectrumEmbedding

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
    module, x_TM = SpectrumEmbedding(M, D).eval(), frames()[0]
    with torch.no_grad():
        for part in (module.near, module.middle, module.far):  # as if trained: a norm that does something
            part.norm.running_mean.normal_()
            part.norm.running_var.uniform_(0.5, 2)
    x = (x_TM - x_TM.mean()).numpy()[None]
    near = halved(patterns(x, module.near))
    far = patterns(halved(patterns(near, module.middle)), module.far)
    expected = module.mix(torch.from_numpy(far.max(2).T).float())
    torch.testing.assert_close(module(x_TM[None], steps([T])[:1])[0], expected, rtol=0, atol=1e-4)


def patterns(x, part):
    """(channels, T, M) -> relu of the normed convolution, same T and M."""
    weight = part.find.weight.detach().numpy()
    n_out, _, high, wide = weight.shape
    padded = np.pad(x, ((0, 0), (high // 2, high // 2), (wide // 2, wide // 2)))
    found = np.zeros((n_out, *x.shape[1:]))
    for step in range(x.shape[1]):
        for band in range(x.shape[2]):
            patch = padded[:, step : step + high, band : band + wide]
            found[:, step, band] = (weight * patch).sum((1, 2, 3))
    mean, variance = (one.numpy()[:, None, None] for one in (part.norm.running_mean, part.norm.running_var))
    return np.maximum((found - mean) / np.sqrt(variance + part.norm.eps), 0)


def halved(x):
    return x.reshape(*x.shape[:2], -1, 2).max(-1)


def test_a_pattern_is_found_at_every_height():
    module = SpectrumEmbedding(64, D).eval()
    x = torch.zeros(1, T, 64)
    x[0, 4:7, 20:24] = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    lower = module.near(x[:, None], torch.ones(1, T, dtype=torch.bool))
    higher = module.near(x.roll(8, 2)[:, None], torch.ones(1, T, dtype=torch.bool))
    torch.testing.assert_close(lower.roll(8, 3)[..., 8:-8], higher[..., 8:-8])


def test_training_changes_frames_the_same_way_for_the_same_seed():
    module, is_step = SpectrumEmbedding(M, D, Augment()).train(), steps([11, 7, 4])
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(module(frames(), is_step))
    assert (found[0] == found[1]).all() and not (found[0] == found[2]).all()
    module.eval()
    assert (module(frames(), is_step) == module(frames(), is_step)).all()
