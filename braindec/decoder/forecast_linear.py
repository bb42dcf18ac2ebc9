"""Samples to come of a recording as weighted sums of those before: windows of runs, and vector autoregression.

Windows hold the past of every sample of a span and what followed it, in units of each channel's spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from braindec import checks, seeding, train
from braindec.maths.ridge import fit_ridge

TRAIN = train.Config(
    n_steps=400, batch_size=16, lr=3e-3, weight_decay=1e-3, validate_every=100, validation_fraction=0.2
)
FAINT = 1e-12


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    steps : int
        Samples foretold.
    context : int
        Samples of the past that are seen, those of the sample at hand included.
    width : int
        Features of a sample inside.
    n_layers : int
        Layer k is dilated by 2 ** k.
    kernel : int
        Samples that a layer combines.
    ahead : {"direct", "one"}
        All samples to come are said at once, or the next one alone, which then counts as seen, and so on.
    linear : bool
        Begin as the closed form (`LinearForecast`), of which the network learns what is left; ``"direct"`` alone.
    orders : tuple of int
        Pasts that the closed form is chosen from, samples.
    alphas : tuple of float
        Its penalties, for each 1000 windows.
    span : int
        Samples of a window at which something is foretold.
    train : train.Config
        `validation_fraction` is of training runs, on which step, order and penalty are chosen.

    Notes
    -----
    Gates, residual and skip connections of WaveNet (van den Oord et al. 2016, arXiv:1609.03499), as EEG is forecast by
    Pankka et al. 2025, doi:10.1162/neco_a_01743, sample by sample from quantised amplitudes of one channel. Here all
    channels are foretold together, by a Gaussian with a spread of its own for each forecast.
    """

    steps: int = 20
    context: int = 100
    width: int = 32
    n_layers: int = 6
    kernel: int = 2
    ahead: Literal["direct", "one"] = "direct"
    linear: bool = True
    orders: tuple[int, ...] = (5, 10, 20)
    alphas: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    span: int = 50
    train: train.Config = field(default_factory=lambda: TRAIN)

    def __post_init__(self) -> None:
        for name in ("steps", "context", "width", "n_layers", "span"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("kernel", self.kernel, 2)
        checks.one_of("ahead", self.ahead, ("direct", "one"))
        if self.linear and self.ahead == "one":
            raise checks.ConfigError(
                "linear=true goes with ahead='direct'; the closed form says all samples at once."
            )
        checks.at_least("number of orders", len(self.orders), 1)
        checks.at_least("smallest order", min(self.orders), 1)
        if max(max(self.orders), self.seen) > self.context:
            raise checks.ConfigError(
                f"context={self.context} is shorter than the past that is looked at: {self.seen} samples by the "
                f"network, {max(self.orders)} by the longest of `orders`."
            )

    @property
    def seen(self) -> int:
        """Samples that the network looks back over, the one at hand included."""
        return 1 + (self.kernel - 1) * (2**self.n_layers - 1)


CONFIG_DEFAULT = Config()


class Forecast(NamedTuple):
    """Expected samples (n_steps, n_channels, n_times), entry (h, c, t) at time t + h + 1, and their SD or None."""

    mean: Tensor
    sd: Tensor | None


class Windows(NamedTuple):
    """Pasts and futures that follow them.

    past (n, n_channels, context + span - 1); future (n, n_channels, span + steps - 1), the samples after the first
    `context` ones; run (n,), which run each is of.
    """

    past: Tensor
    future: Tensor
    run: Tensor

    def shuffled(self, generator: torch.Generator) -> Windows:
        """Pasts with the futures of other windows."""
        return self._replace(future=self.future[torch.randperm(len(self.future), generator=generator)])


class Scale(NamedTuple):
    """Mean and SD of each channel, (n_channels, 1)."""

    mean: Tensor
    sd: Tensor

    def __call__(self, run: Tensor) -> Tensor:
        return (run - self.mean) / self.sd


def scale_of(runs: Sequence[Tensor]) -> Scale:
    """Of training runs (n_channels, n_times).

    Raises
    ------
    ValueError
        If a value is not finite, channels differ between runs, or a channel is silent.
    """
    checks.at_least("number of training runs", len(runs), 1)
    if len({len(run) for run in runs}) > 1:
        raise ValueError(f"runs have {sorted({len(run) for run in runs})} channels; they must have the same.")
    whole = torch.cat([checks.finite("runs", run) for run in runs], 1).double()
    sd = whole.std(1, keepdim=True)
    silent = torch.nonzero(sd[:, 0] <= FAINT * whole.abs().amax()).flatten().tolist()
    if silent:
        raise ValueError(f"channels {silent} are silent in training runs; leave them out.")
    return Scale(whole.mean(1, keepdim=True).float(), sd.float())


def windows(runs: Sequence[Tensor], settings: Config = CONFIG_DEFAULT) -> Windows:
    """All windows of runs (n_channels, n_times); none reaches from one run into another.

    Raises
    ------
    ValueError
        If no run is long enough for one.
    """
    long = settings.context + settings.span + settings.steps - 1
    cut = [run.unfold(1, long, settings.span).transpose(0, 1) for run in runs if run.shape[1] >= long]
    if not cut:
        raise ValueError(
            f"no run has the {long} samples of a window (context + span + steps); record longer or lower these."
        )
    whole = torch.cat(cut).float()
    number = torch.cat([torch.full((len(c),), i) for i, c in enumerate(cut)])
    return Windows(
        whole[:, :, : settings.context + settings.span - 1], whole[:, :, settings.context :], number
    )


class LinearForecast(nn.Module):
    """Every sample to come as a weighted sum of all channels' last samples: vector autoregression, all steps at once.

    Parameters
    ----------
    weight : Tensor, shape (n_steps * n_channels, n_channels, order)
    bias : Tensor, shape (n_steps * n_channels,)
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())

    @property
    def order(self) -> int:
        """Samples that it looks back over."""
        return int(self.weight.shape[2])

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_channels, n_times) to (n, n_steps, n_channels, n_times); what lies before the first sample is 0."""
        made = nn.functional.conv1d(nn.functional.pad(x, (self.order - 1, 0)), self.weight, self.bias)
        return made.unflatten(1, (-1, x.shape[1]))


def fit_linear(data: Windows, settings: Config = CONFIG_DEFAULT, seed: int = 0) -> LinearForecast:
    """Ridge of the samples to come on the past, its order and penalty chosen on held-out training runs.

    Every step has weights of its own (direct forecasts): errors of the first do not add up in the last.
    """
    _, held = learnt_and_held(data, settings, seed)
    wanted = data.future.unfold(2, settings.steps, 1).transpose(1, 2).transpose(2, 3).flatten(2).flatten(0, 1)
    place = torch.arange(len(data.past) * settings.span).unflatten(0, (-1, settings.span))
    alphas = [alpha * len(wanted) / 1000 for alpha in settings.alphas]
    fits = [
        fit_ridge(_lagged(data.past, order, settings), wanted, alphas, (place[held].flatten(),))
        for order in settings.orders
    ]
    told = [-float("inf") if f.cv_scores is None else float(f.cv_scores.mean(-1).max()) for f in fits]
    which = max(range(len(fits)), key=told.__getitem__)
    weights = fits[which].weights.T.unflatten(1, (data.past.shape[1], settings.orders[which]))
    return LinearForecast(weights.contiguous(), fits[which].intercept)


def _lagged(past: Tensor, order: int, settings: Config) -> Tensor:
    """The last `order` samples of all channels at each sample of the span: (n * span, n_channels * order)."""
    seen = past[:, :, settings.context - order :].unfold(2, order, 1)  # (n, n_channels, span, order)
    return seen.transpose(1, 2).flatten(2).flatten(0, 1)


def learnt_and_held(data: Windows, settings: Config, seed: int) -> tuple[Tensor, Tensor]:
    """Windows that are learnt from, and those of held-out runs; of one run its end, a window apart."""
    units, n = [str(i) for i in data.run.tolist()], len(data.run)
    if len(set(units)) > 1:
        return train.split_rows(
            units,
            max(settings.train.validation_fraction, 1e-9),
            seeding.torch_generator(seed, "forecast runs"),
        )
    apart = -(-(settings.context + settings.steps) // settings.span)
    first = n - max(1, round(settings.train.validation_fraction * n))
    checks.at_least("windows of the only training run", first - apart, 1)
    return torch.arange(first - apart), torch.arange(first, n)
