"""The density of the time until the next event: a chance of "at the same moment", and log-normals for what is later.

A log's clock ticks in seconds or days, so many neighbouring events tie, and a density alone would be infinite there.
Here the gap g (days, g >= 0) has a mixed distribution: g <= r ("the same moment") is one point with probability p,
and g - r > 0 follows a mixture of log-normals with weight 1 - p. A likelihood is then the probability of the point,
or a density per day beyond it; likelihoods compare only between heads of the same r.

Shchur, Bilos & Guennemann 2020, "Intensity-free learning of temporal point processes", arXiv:1909.12127: eq. 2 for
the mixture, appendix D.2 for standardised log gaps. Differs from the paper in the point and the shift by r, in bounds
on the components' widths, in weights that start at zero (training starts at the overall distribution of the gaps), and
in answering with the median instead of the mean. Knows nothing about which event comes next.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.errors import ConfigError, DataError

_SECOND_DAYS = 1 / 86_400
_CLOCKS_DAYS = (1.0, 1 / 24, 1 / 1440, _SECOND_DAYS, _SECOND_DAYS / 1e3, _SECOND_DAYS / 1e6)
_CLOCK_TOLERANCE = 1e-6  # relative; gaps may come as float32
# Widths of a component in standard deviations of the log gaps. On a coarse clock a component would narrow onto one tick
# and its density grow without end; the narrowest still tells a monthly payment from one that is a day late.
_NARROWEST, _WIDEST = 0.01, 3.0
_SMALLEST_STD = 0.1  # of log gaps, when those of training are all alike
_LONGEST_DAYS = 1e6  # of a sample, so that it can be added to a timestamp
_BISECTIONS = 60


class _Mixture(NamedTuple):
    """Parameters of N distributions, in log days beyond the resolution r."""

    same: Tensor  # (N,) log-odds of the same moment
    log_weight: Tensor  # (N, M)
    mean: Tensor  # (N, M)
    std: Tensor  # (N, M)

    def log_density(self, log_days: Tensor) -> Tensor:
        """Return log densities of the log gap, (N,)."""
        distance = (log_days[:, None] - self.mean) / self.std
        normal = -0.5 * distance**2 - self.std.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weight + normal, dim=-1)

    def log_survival(self, log_days: Tensor) -> Tensor:
        """Return log P(log gap > log_days), (N,), of the log-normals alone."""
        distance = (log_days[:, None] - self.mean) / self.std
        return torch.logsumexp(self.log_weight + torch.special.log_ndtr(-distance), dim=-1)


class LogNormalMixture(nn.Module):
    """Turn states (N, D) into the distribution of the days until the next event.

    The right head when the gaps spread over several orders of magnitude. With a distribution at hand one model gives
    the median, the chance of nothing within 30 days, and both again for a user who has been silent for a week.
    Example of the likelihood: p = 0.25 and all later gaps near a median of 2 days with a log-width of 1 give
    log 0.25 = -1.39 nats to a tie and log(0.75 * 0.399 / 2) = -1.90 to a gap of 2 days.

    Args:
        width: width of the states, D.
        n_components: log-normals in the mixture, M.
        scale: mean and standard deviation of log(gap - r) over the training gaps beyond r.
        resolution_days: r, the longest gap that counts as the same moment; half a tick of the log's clock.
        same_share: share of the training gaps that are the same moment, where training starts.

    All methods take states of any float type and compute in float32 or better.

    >>> head = LogNormalMixture.from_gaps(np.array([0.0, 1.0, 2.0, 4.0]), width=2)
    >>> states, gap_days = torch.zeros(2, 2), torch.tensor([0.0, 2.0])
    >>> [round(nats, 2) for nats in head.log_prob(states, gap_days).tolist()]
    [-1.39, -1.46]
    >>> [round(days, 2) for days in head.median(states, waited_days=torch.tensor([0.0, 10.0])).tolist()]
    [1.45, 10.76]
    """

    log_mean: Tensor
    log_std: Tensor
    resolution_days: Tensor

    def __init__(
        self,
        width: int,
        n_components: int = 8,
        scale: tuple[float, float] = (0.0, 1.0),
        resolution_days: float = _SECOND_DAYS / 2,
        same_share: float = 0.5,
    ) -> None:
        super().__init__()
        _check(n_components, scale, resolution_days, same_share)
        self.n_components = n_components
        self.register_buffer("log_mean", torch.tensor(float(scale[0])))
        self.register_buffer("log_std", torch.tensor(float(scale[1])))
        self.register_buffer("resolution_days", torch.tensor(float(resolution_days)))
        self.output = nn.Linear(width, 1 + 3 * n_components)
        nn.init.zeros_(self.output.weight)
        with torch.no_grad():
            self.output.bias.copy_(_starting_bias(n_components, same_share))

    @classmethod
    def from_gaps(cls, gaps_days: np.ndarray, width: int, n_components: int = 8) -> LogNormalMixture:
        """Return a head that starts at the distribution of training gaps.

        The resolution is half a tick of the coarsest clock (day, hour, minute, second, ...) that explains all gaps.

        Args:
            gaps_days: (E,) days between neighbouring events of one entity, training events only.
            width: width of the states, D.
            n_components: log-normals in the mixture.

        Raises:
            DataError: if a gap is negative or not finite, or none is longer than zero.

        >>> float(LogNormalMixture.from_gaps(np.array([0.0, 1.0, 7.0, 30.0]), width=4).resolution_days)
        0.5
        """
        gaps = np.asarray(gaps_days, dtype=np.float64)
        if not (np.isfinite(gaps) & (gaps >= 0)).all():
            raise DataError("A gap between events is negative or not finite; sort each history by time first.")
        if not (gaps > 0).any():
            raise DataError(
                f"None of the {gaps.size} gaps between training events is longer than 0, so there is no time to learn; "
                "check the timestamps, or leave the time out of the task."
            )
        resolution = _tick_days(gaps[gaps > 0]) / 2
        later = np.log(gaps[gaps > resolution] - resolution)
        scale = (float(later.mean()), max(float(later.std()), _SMALLEST_STD))
        return cls(width, n_components, scale, resolution, same_share=1 - later.size / gaps.size)

    def log_prob(self, states: Tensor, gap_days: Tensor, waited_days: Tensor | float | None = None) -> Tensor:
        """Return the log-likelihood of gaps, (N,) in nats.

        Args:
            states: (N, D).
            gap_days: (N,), 0 or more.
            waited_days: (N,) or one number: the gap is known to be at least this long. A wait of no more than the
                resolution tells nothing; a gap shorter than the wait has likelihood 0 (-inf).
        """
        mixture = self._mixture(states)
        gap = gap_days.to(mixture.mean)
        log_days = self._log_beyond(gap)
        later = F.logsigmoid(-mixture.same) + mixture.log_density(log_days) - log_days
        log_prob = torch.where(gap <= self.resolution_days, F.logsigmoid(mixture.same), later)
        if waited_days is None:
            return log_prob
        waited = _per_row(waited_days, gap)
        has_waited = waited > self.resolution_days
        given = log_prob - torch.where(has_waited, self._log_survival(mixture, waited), 0)
        return given.masked_fill(has_waited & (gap < waited), -math.inf)

    def loss(self, states: Tensor, gap_days: Tensor, waited_days: Tensor | float | None = None) -> Tensor:
        """Return the negative log-likelihood of gaps, summed over the N rows."""
        return -self.log_prob(states, gap_days, waited_days).sum()

    def survival(self, states: Tensor, days: Tensor | float, waited_days: Tensor | float | None = None) -> Tensor:
        """Return P(gap > days), (N,): the chance that nothing has happened by then, given the wait so far."""
        mixture = self._mixture(states)
        until = _per_row(days, mixture.same)
        if waited_days is None:
            return self._log_survival(mixture, until).exp()
        waited = _per_row(waited_days, mixture.same)
        has_waited = waited > self.resolution_days
        given = torch.where(has_waited, self._log_survival(mixture, waited), 0)
        return (self._log_survival(mixture, torch.where(has_waited, until.maximum(waited), until)) - given).exp()

    @torch.no_grad()
    def median(self, states: Tensor, waited_days: Tensor | float | None = None) -> Tensor:
        """Return the median gap from the last event, (N,) days: the answer with the least mean absolute error.

        It is 0 when a tie is as likely as not, and counts from the last event also when `waited_days` have passed.
        """
        mixture = _Mixture(*(part.double() for part in self._mixture(states)))
        resolution = self.resolution_days.double()
        waited = _per_row(0.0 if waited_days is None else waited_days, mixture.same)
        has_waited = waited > resolution
        # The answer is where the log-normals' own log survival falls to `level`.
        after = math.log(0.5) + F.softplus(mixture.same)
        begin = self._log_beyond(waited)
        level = torch.where(has_waited, math.log(0.5) + mixture.log_survival(begin), after)
        low, high = _bracket(mixture, begin, has_waited, after)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            too_early = mixture.log_survival(middle) > level
            low, high = torch.where(too_early, middle, low), torch.where(too_early, high, middle)
        days = resolution + ((low + high) / 2).exp()
        return torch.where((after >= 0) & ~has_waited, 0, days).to(self._type(states))

    @torch.no_grad()
    def mean(self, states: Tensor) -> Tensor:
        """Return the mean gap, (N,) days. The far tail, which no data confirms, rules it; prefer the median."""
        mixture = _Mixture(*(part.double() for part in self._mixture(states)))
        beyond = torch.logsumexp(mixture.log_weight + mixture.mean + mixture.std**2 / 2, dim=-1).exp()
        return (torch.sigmoid(-mixture.same) * (self.resolution_days + beyond)).to(self._type(states))

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one gap for each row, (N,) days: 0 for the same moment, at most a million days."""
        mixture = self._mixture(states)
        which = torch.multinomial(mixture.log_weight.exp(), 1, generator=generator)
        noise = torch.empty_like(mixture.same).normal_(generator=generator)
        log_days = mixture.mean.gather(1, which)[:, 0] + mixture.std.gather(1, which)[:, 0] * noise
        days = self.resolution_days + log_days.clamp(max=math.log(_LONGEST_DAYS)).exp()
        is_same = torch.empty_like(noise).uniform_(generator=generator) < torch.sigmoid(mixture.same)
        return torch.where(is_same, 0, days.clamp(max=_LONGEST_DAYS))

    def _mixture(self, states: Tensor) -> _Mixture:
        raw = self.output(states).to(self._type(states))
        weight, mean, width = raw[:, 1:].chunk(3, dim=-1)
        low, high = math.log(_NARROWEST), math.log(_WIDEST)
        std = self.log_std * (low + (high - low) * torch.sigmoid(width)).exp()
        return _Mixture(raw[:, 0], weight.log_softmax(-1), self.log_mean + self.log_std * mean, std)

    def _log_beyond(self, days: Tensor) -> Tensor:
        """Return log(days - r); of what is not beyond r some finite number, which nobody reads."""
        return (days - self.resolution_days).clamp(min=torch.finfo(torch.float32).tiny).log()

    def _log_survival(self, mixture: _Mixture, days: Tensor) -> Tensor:
        is_later = days > self.resolution_days
        beyond = torch.where(is_later, mixture.log_survival(self._log_beyond(days)), 0)
        return torch.where(days < 0, 0, F.logsigmoid(-mixture.same) + beyond)

    def _type(self, states: Tensor) -> torch.dtype:
        return torch.promote_types(states.dtype, torch.float32)


def _bracket(mixture: _Mixture, begin: Tensor, has_waited: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return log days between which the median of every row lies.

    A quantile of a mixture lies between the smallest and the largest of its components' quantiles. After a wait that
    ended u standard deviations from a component's mean, that component halves by max(u, 0) + 1 at the latest.
    """
    share = (-torch.expm1(after)).clamp(min=1e-300)[:, None]
    at = mixture.mean + mixture.std * torch.special.ndtri(share)
    halved = ((begin[:, None] - mixture.mean) / mixture.std).clamp(min=0) + 1
    low = torch.where(has_waited, begin, at.amin(-1))
    return low, torch.where(has_waited, (mixture.mean + mixture.std * halved).amax(-1), at.amax(-1))


def _per_row(days: Tensor | float, like: Tensor) -> Tensor:
    return torch.as_tensor(days).to(like).expand_as(like)


def _starting_bias(n_components: int, same_share: float) -> Tensor:
    """Spread the components over a standard normal, alike in weight, so that together they have variance 1."""
    share = min(max(same_share, 1e-4), 1 - 1e-4)
    middles = (torch.arange(n_components, dtype=torch.float64) + 0.5) / n_components
    means = torch.special.ndtri(middles)
    width = max(1 - float(means.square().mean()), 4 * _NARROWEST**2) ** 0.5
    position = math.log(width / _NARROWEST) / math.log(_WIDEST / _NARROWEST)
    width_logit = torch.full_like(means, math.log(position / (1 - position)))
    same_logit = torch.tensor([math.log(share / (1 - share))], dtype=torch.float64)
    return torch.cat([same_logit, torch.zeros_like(means), means, width_logit])


def _tick_days(gaps: np.ndarray) -> float:
    """Return the coarsest unit of time of which all gaps (> 0) are multiples, a microsecond if none."""
    for tick in _CLOCKS_DAYS:
        ticks = np.maximum(np.round(gaps / tick), 1)
        if (np.abs(gaps - ticks * tick) <= _CLOCK_TOLERANCE * gaps).all():
            return tick
    return _CLOCKS_DAYS[-1]


def _check(n_components: int, scale: tuple[float, float], resolution_days: float, same_share: float) -> None:
    if n_components < 1:
        raise ConfigError(f"n_components={n_components} leaves no log-normal; use 1 or more, usually 8.")
    if not (math.isfinite(scale[0]) and 0 < scale[1] < math.inf):
        raise ConfigError(f"scale={scale} must be a finite mean and a positive standard deviation of log gaps in days.")
    if not 0 < resolution_days < math.inf:
        raise ConfigError(
            f"resolution_days={resolution_days} must be positive: half a tick of the log's clock, "
            f"{_SECOND_DAYS / 2:.2g} for seconds, 0.5 for days."
        )
    if not 0 <= same_share <= 1:
        raise ConfigError(f"same_share={same_share} is a share of the gaps: between 0 and 1.")
