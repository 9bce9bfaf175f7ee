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
    x = np.pad((x_TM - x_TM.mean()).numpy(), ((2, 2), (3, 3)))
    near = convolved(x, module.near, 2)
    far = convolved(np.pad(near, ((0, 0), (1, 1), (1, 1))), module.far, 1)
    flat = torch.from_numpy(far.transpose(1, 0, 2).reshape(T, -1)).float()
    expected = module.mix(flat)
    torch.testing.assert_close(module(x_TM[None], steps([T])[:1])[0], expected, rtol=0, atol=1e-4)


def convolved(x, layer, stride):
    """(channels, T, M) or (T, M), padded -> relu of the convolution, then the larger of each two bands."""
    x = x if x.ndim == 3 else x[None]
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    n_out, _, high, wide = weight.shape
    n_steps, n_bands = x.shape[1] - high + 1, (x.shape[2] - wide) // stride + 1
    found = np.zeros((n_out, n_steps, n_bands))
    for step in range(n_steps):
        for band in range(n_bands):
            patch = x[:, step : step + high, band * stride : band * stride + wide]
            found[:, step, band] = (weight * patch).sum((1, 2, 3)) + bias
    return np.maximum(found, 0).reshape(n_out, n_steps, -1, 2).max(-1)


def test_a_pattern_is_found_at_every_height():
    module = SpectrumEmbedding(64, D).eval()
    x = torch.zeros(1, T, 64)
    x[0, 4:7, 20:24] = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    lower = module.near(x[:, None])
    higher = module.near(x.roll(8, 2)[:, None])
    torch.testing.assert_close(lower.roll(4, 3)[..., 8:-8], higher[..., 8:-8])


def test_training_changes_frames_the_same_way_for_the_same_seed():
    module, is_step = SpectrumEmbedding(M, D, Augment()).train(), steps([11, 7, 4])
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(module(frames(), is_step))
    assert (found[0] == found[1]).all() and not (found[0] == found[2]).all()
    module.eval()
    assert (module(frames(), is_step) == module(frames(), is_step)).all()
