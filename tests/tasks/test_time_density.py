"""The density is proper, agrees with scipy, and its median, mean and samples agree with it."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from habitus.errors import ConfigError, DataError
from habitus.tasks.time_density import LogNormalMixture

SECOND = 1 / 86_400
N, D = 3, 4


def a_head(resolution=0.5, same_share=0.4, scale=(1.0, 1.5), n_components=3, seed=0):
    """Return a head in float64 whose distribution differs from state to state, and N states."""
    torch.manual_seed(seed)
    head = LogNormalMixture(D, n_components, scale, resolution, same_share).double()
    torch.nn.init.normal_(head.output.weight, std=0.5)
    head.output.weight.data[0] *= 0.2  # the point mass stays near same_share
    return head, torch.randn(N, D, dtype=torch.float64)


def by_scipy(head, state):
    """Return the point mass, and density and survival of the later gaps, from the head's own parameters."""
    mixture = head._mixture(state[None])
    weight, mean, std = (part[0].detach().numpy() for part in (mixture.log_weight.exp(), mixture.mean, mixture.std))
    parts = stats.lognorm(s=std, scale=np.exp(mean), loc=float(head.resolution_days))
    same = torch.sigmoid(mixture.same[0]).item()
    return (
        same,
        lambda days: (1 - same) * (weight * parts.pdf(days)).sum(),
        lambda days: (1 - same) * (weight * parts.sf(days)).sum(),
    )


@pytest.mark.parametrize("gap", [0.51, 0.9, 1.0, 7.0, 400.0])
def test_the_likelihood_and_the_survival_are_those_of_scipys_log_normals(gap):
    head, states = a_head()
    gaps = torch.full((N,), gap, dtype=torch.float64)
    for row in range(N):
        same, density, survival = by_scipy(head, states[row])
        assert head.log_prob(states, gaps)[row].item() == pytest.approx(math.log(density(gap)), abs=1e-8)
        assert head.log_prob(states, gaps * 0)[row].item() == pytest.approx(math.log(same))
        assert head.survival(states, gaps)[row].item() == pytest.approx(survival(gap))
        assert head.survival(states, 0.0)[row].item() == pytest.approx(1 - same)
    assert head.survival(states, -1.0).tolist() == [1.0] * N


@pytest.mark.parametrize("waited", [None, 0.0, 0.5, 3.0, 50.0])
def test_the_distribution_adds_up_to_one_also_after_waiting(waited):
    head, states = a_head()
    edge = 0.5 if waited is None else max(0.5, waited)
    log_beyond = torch.linspace(-60, 60, 20_001, dtype=torch.float64)
    for row in range(N):
        state = states[row : row + 1].expand(len(log_beyond), -1)
        point = head.log_prob(state[:1], torch.zeros(1), waited).exp().item()
        density = head.log_prob(state, edge + log_beyond.exp(), waited).exp() * log_beyond.exp()
        assert point + torch.trapezoid(density, log_beyond).item() == pytest.approx(1, abs=1e-6)
        assert (point == 0) == (waited is not None and waited > 0.5)


@pytest.mark.parametrize("waited", [None, 0.2, 0.6, 10.0, 1e5])
def test_half_of_the_probability_lies_on_each_side_of_the_median(waited):
    head, states = a_head(same_share=0.2)
    median = head.median(states, waited)
    assert (median > (waited or 0)).all()
    torch.testing.assert_close(head.survival(states, median, waited), torch.full((N,), 0.5).double(), rtol=0, atol=1e-9)


def test_the_median_solves_scipys_survival_function():
    head, states = a_head(same_share=0.2)
    for row, median in enumerate(head.median(states).tolist()):
        survival = by_scipy(head, states[row])[2]
        low, high = 0.5, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if survival(middle) > 0.5 else (low, middle)
        assert median == pytest.approx(low, rel=1e-6)


def test_the_median_minimises_the_mean_absolute_error_of_samples():
    head, states = a_head(same_share=0.3)
    rows = states[:1].expand(40_000, -1)
    gaps = head.sample(rows, torch.Generator().manual_seed(0)).numpy()
    median = head.median(states[:1]).item()
    errors = [np.abs(gaps - answer).mean() for answer in (0, 0.8 * median, median, 1.25 * median)]
    assert errors[2] == min(errors)


def test_the_median_is_zero_when_a_tie_is_as_likely_as_not_unless_the_moment_has_passed():
    head = LogNormalMixture(D, same_share=0.6, resolution_days=0.5)
    states = torch.zeros(2, D)
    median = head.median(states, waited_days=torch.tensor([0.5, 0.75]))
    assert median[0] == 0 and median[1] > 0.75
    nearly = LogNormalMixture(D, same_share=0.5 - 1e-6, resolution_days=0.5).median(states)
    assert (nearly > 0.5).all() and (nearly < 0.6).all()


def test_samples_follow_the_distribution_and_repeat_with_the_seed():
    head, states = a_head(same_share=0.4)
    same, _, survival = by_scipy(head, states[1])
    rows = states[1:2].expand(20_000, -1)
    gaps = head.sample(rows, torch.Generator().manual_seed(1)).numpy()
    assert abs((gaps == 0).mean() - same) < 4 * 0.5 / math.sqrt(len(gaps))
    later = np.sort(gaps[gaps > 0])
    cdf = np.array([1 - survival(days) / (1 - same) for days in later[::10]])
    assert stats.kstest(cdf, "uniform").pvalue > 1e-3
    assert (head.sample(rows, torch.Generator().manual_seed(1)).numpy() == gaps).all()


def test_the_mean_is_the_integral_of_the_survival_function():
    head, states = a_head(scale=(0.5, 0.5))
    for row in range(N):
        same, _, survival = by_scipy(head, states[row])
        integral, _ = integrate.quad(lambda u, f=survival: f(math.exp(u)) * math.exp(u), math.log(0.5), 20, limit=200)
        assert head.mean(states)[row].item() == pytest.approx((1 - same) * 0.5 + integral, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradients_are_finite_at_any_gap(dtype):
    head = LogNormalMixture.from_gaps(np.array([0, SECOND, 5 * SECOND, 1.0, 30.0]), width=D).to(torch.float32)
    gaps = torch.tensor([0.0, SECOND / 2, SECOND, 1e-30, 1.0, 1e6])
    states = torch.randn(len(gaps), D, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = head.loss(states.requires_grad_(), gaps) + head.loss(states, gaps + 5.0, waited_days=5.0)
    loss.backward()
    assert loss.isfinite() and loss.dtype == torch.float32
    assert head.output.bias.grad.isfinite().all() and states.grad.isfinite().all()


def test_the_loss_is_the_sum_over_rows_and_its_gradient_is_right():
    head, states = a_head()
    gaps = torch.tensor([0.0, 0.7, 900.0], dtype=torch.float64)
    assert head.loss(states, gaps).item() == pytest.approx(-head.log_prob(states, gaps).sum().item())
    assert torch.autograd.gradcheck(lambda x: head.log_prob(x, gaps), states.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: head.log_prob(x, gaps + 40, waited_days=30.0), states)


def test_a_gap_shorter_than_the_wait_is_impossible_and_a_wait_within_the_resolution_tells_nothing():
    head, states = a_head()
    gaps = torch.tensor([0.0, 2.9, 3.0], dtype=torch.float64)
    after = head.log_prob(states, gaps, waited_days=3.0).tolist()
    assert after[0] == after[1] == -math.inf and math.isfinite(after[2])
    torch.testing.assert_close(head.log_prob(states, gaps, waited_days=0.5), head.log_prob(states, gaps))
    assert head.survival(states, 2.0, waited_days=3.0).tolist() == [1.0] * N


@pytest.mark.parametrize(
    ("gaps", "tick"),
    [
        ([0, 1, 7, 30], 1.0),
        ([0, 1 / 24, 2.0], 1 / 24),
        ([0, SECOND, 400.0], SECOND),
        ([np.float32(11 * SECOND), np.float32(200 + 7 * SECOND)], SECOND),
        ([1e-13], SECOND / 1e6),
    ],
)
def test_the_resolution_is_half_a_tick_of_the_logs_clock(gaps, tick):
    head = LogNormalMixture.from_gaps(np.array(gaps) + (0 if gaps[-1] > 1e-9 else SECOND / 1e6), width=D)
    assert head.resolution_days.item() == pytest.approx(tick / 2)


@pytest.mark.parametrize("n_components", [1, 8, 200])
def test_training_starts_at_the_distribution_of_the_gaps(n_components):
    random = np.random.default_rng(0)
    gaps = np.where(random.random(4000) < 0.42, 0, np.round(random.lognormal(1, 2, 4000) / SECOND) * SECOND)
    head = LogNormalMixture.from_gaps(gaps, width=D, n_components=n_components)
    states = torch.randn(1, D)
    assert head.survival(states, 0.0).item() == pytest.approx((gaps > 0).mean(), abs=1e-4)
    assert head.median(states).item() == pytest.approx(np.median(gaps), rel=0.15)
    assert head.survival(states, 30.0).item() == pytest.approx((gaps > 30).mean(), abs=0.02)


def test_learning_recovers_a_distribution_that_depends_on_the_state():
    random = np.random.default_rng(0)
    kind = random.integers(0, 2, 600)
    gaps = np.where(kind == 1, random.lognormal(3, 0.3, 600), np.where(random.random(600) < 0.7, 0, 1.0))
    head = LogNormalMixture.from_gaps(np.round(gaps / SECOND) * SECOND, width=2, n_components=4)
    states = torch.nn.functional.one_hot(torch.tensor(kind), 2).float()
    target = torch.tensor(gaps, dtype=torch.float32)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        (head.loss(states, target) / len(target)).backward()
        optimizer.step()
    median = head.median(torch.eye(2))
    assert median[0] == 0 and median[1].item() == pytest.approx(math.exp(3), rel=0.1)
    assert head.survival(torch.eye(2), 0.0).tolist() == pytest.approx([0.3, 1.0], abs=0.05)


def test_scale_and_resolution_travel_with_the_weights():
    fitted = LogNormalMixture.from_gaps(np.array([0.0, 2.0, 5.0]), width=D)
    loaded = LogNormalMixture(D)
    loaded.load_state_dict(fitted.state_dict())
    states, gaps = torch.randn(2, D), torch.tensor([0.0, 3.0])
    assert torch.equal(loaded.log_prob(states, gaps), fitted.log_prob(states, gaps))


def test_what_cannot_be_learned_is_refused_with_a_sentence():
    with pytest.raises(DataError, match="None of the 2 gaps"):
        LogNormalMixture.from_gaps(np.zeros(2), width=D)
    with pytest.raises(DataError, match="negative or not finite"):
        LogNormalMixture.from_gaps(np.array([1.0, np.nan]), width=D)
    for options in ({"n_components": 0}, {"scale": (0.0, 0.0)}, {"resolution_days": 0.0}, {"same_share": 2.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            LogNormalMixture(D, **options)
