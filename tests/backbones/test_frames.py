import numpy as np
import pytest
import torch

from habitus.backbones.frames import Augment, FrameEmbedding, levelled, played, warped_bands, warped_time

B, T, M, D = 3, 11, 8, 6


def frames(seed=0):
    return torch.randn(B, T, M, generator=torch.Generator().manual_seed(seed))


def steps(lengths):
    return torch.arange(T) < torch.tensor(lengths)[:, None]


def test_padding_and_company_change_nothing():
    x, lengths = frames(), [11, 7, 4]
    module = FrameEmbedding(M, D).eval()
    whole = module(x, steps(lengths))
    noisy = module(x + 100 * (~steps(lengths))[..., None], steps(lengths))
    for row, n in enumerate(lengths):
        alone = module(x[row : row + 1, :n], torch.ones(1, n, dtype=torch.bool))
        torch.testing.assert_close(whole[row, :n], alone[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(noisy[row, :n], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_a_stride_makes_fewer_steps_rounded_up(stride):
    module = FrameEmbedding(M, D, stride=stride).eval()
    for n in range(1, T + 1):
        found = module(frames()[:1, :n], torch.ones(1, n, dtype=torch.bool))
        assert found.shape[1] == -(-n // stride) == int(module.n_steps(torch.tensor(n)))


def test_loudness_says_nothing():
    x, is_step = frames(), steps([11, 7, 4])
    torch.testing.assert_close(levelled(x + 3.0, is_step)[0], levelled(x, is_step)[0])
    assert levelled(x, is_step)[1, :7].mean().abs() < 1e-6


def test_warps_are_interpolations():
    x = frames()
    factor = torch.tensor([0.9, 1.0, 1.2])[:, None, None]
    found = warped_bands(x, factor)
    for row in range(B):
        at = np.clip(np.arange(M) * factor[row].item(), 0, M - 1)
        for step in range(T):
            np.testing.assert_allclose(found[row, step], np.interp(at, np.arange(M), x[row, step]), atol=1e-5)
    lengths = torch.tensor([11, 7, 4])
    assert (warped_bands(x, torch.ones(B, 1, 1)) == x).all()
    still = warped_time(x, lengths, torch.full((B, 1, 1), 0.5))
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(still[row, :n], x[row, :n], rtol=0, atol=1e-5)


def test_a_warp_of_time_keeps_the_ends_and_reads_no_padding():
    x, lengths = frames(), torch.tensor([11, 7, 4])
    moved = warped_time(x.masked_fill(~steps([11, 7, 4])[..., None], float("nan")), lengths, torch.full((B, 1, 1), 0.3))
    for row, n in enumerate(lengths.tolist()):
        assert moved[row, :n].isfinite().all()
        torch.testing.assert_close(moved[row, [0, n - 1]], x[row, [0, n - 1]])


def test_a_played_recording_is_an_interpolation_with_its_ends():
    x, lengths, n_frames = frames(), torch.tensor([11, 7, 4]), torch.tensor([13, 5, 1])
    found = played(x.masked_fill(~steps([11, 7, 4])[..., None], float("nan")), lengths, n_frames)
    assert found.shape == (B, 13, M)
    for row, (length, n) in enumerate(zip(lengths.tolist(), n_frames.tolist(), strict=True)):
        at = np.linspace(0, length - 1, n)
        for band in range(M):
            expected = np.interp(at, np.arange(length), x[row, :length, band])
            np.testing.assert_allclose(found[row, :n, band], expected, atol=1e-5)
        assert not found[row, n:].any()
    assert (played(x, torch.full((B,), T), torch.full((B,), T)) - x).abs().max() < 1e-5


def test_speeds_stay_within_their_share():
    torch.manual_seed(0)
    found = Augment(speed=0.25).n_played(torch.full((500,), 100))
    assert 75 <= int(found.min()) < 80 and 120 < int(found.max()) <= 125
    assert Augment(speed=0.9).n_played(torch.ones(50, dtype=torch.int64)).min() == 1


def test_training_changes_frames_the_same_way_for_the_same_seed():
    module, is_step = FrameEmbedding(M, D, Augment()).train(), steps([11, 7, 4])
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(module(frames(), is_step))
    assert (found[0] == found[1]).all() and not (found[0] == found[2]).all()
    assert all(one.isfinite().all() for one in found)
    module.eval()
    assert (module(frames(), is_step) == module(frames(), is_step)).all()


def test_masks_hide_at_most_their_share():
    augment = Augment(warp_bands=0, warp_time=0, speed=0, mask_bands=0.25, mask_time=0.0, level=0, noise=0)
    for seed in range(20):
        torch.manual_seed(seed)
        hidden = augment(torch.ones(B, T, M), torch.full((B,), T)) == 0
        assert (hidden.all(1) == hidden.any(1)).all() and hidden.any(1).sum(1).max() <= 2 * 3


def test_without_any_change_frames_stay():
    nothing = Augment(0, 0, 0, 0, 0, 0, 0)
    assert (nothing(frames(), torch.full((B,), T)) == frames()).all()
