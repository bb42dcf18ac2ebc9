"""Samples to come of a recording from those before: a causal dilated network of all channels.

It begins as vector autoregression in closed form (`forecast_linear`), where it is told to, and learns what that leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from braindec import checks, config, seeding, store, tensor_folder, train
from braindec.decoder.forecast_linear import (
    CONFIG_DEFAULT,
    Config,
    Forecast,
    LinearForecast,
    Scale,
    Windows,
    fit_linear,
    learnt_and_held,
)

AT_ONCE = 256  # windows
LOG_SD = (-6.0, 3.0)  # of standardised samples; no forecast is surer or less sure


class _Layer(nn.Module):
    """A dilated convolution over the past, through a gate: to the next layer beside its input, and to the output."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.back, self.dilation = (kernel - 1) * dilation, dilation
        self.conv = nn.Conv1d(width, 2 * width, kernel, dilation=dilation)
        self.out = nn.Conv1d(width, 2 * width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, width, n_times) to what the next layer sees, and what goes to the output."""
        return self._through(self.conv(nn.functional.pad(x, (self.back, 0))), x)

    def one(self, taps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The same at one sample, of the samples that the filter looks at, (n, width, n_times) each, the last first."""
        weights = self.conv.weight.flip(2).unbind(2)
        combined = sum((w @ x for w, x in zip(weights, taps, strict=True)), torch.zeros(()))
        return self._through(
            combined + checks.of_type("bias", self.conv.bias, nn.Parameter)[:, None], taps[0]
        )

    def _through(self, combined: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        content, gate = combined.chunk(2, 1)
        kept, told = self.out(torch.tanh(content) * torch.sigmoid(gate)).chunk(2, 1)
        return x + kept, told


class Forecaster(nn.Module):
    """A causal dilated network of all channels; what it says at a sample depends on no later one.

    Parameters
    ----------
    n_channels : int
    settings : Config
    scale : Scale
        Of the runs in their own units.
    linear : LinearForecast, optional
        What it begins as.
    seed : int
    """

    channel_mean: Tensor
    channel_sd: Tensor

    def __init__(
        self,
        n_channels: int,
        settings: Config,
        scale: Scale,
        linear: LinearForecast | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.settings, self.linear = settings, linear
        self.said = settings.steps if settings.ahead == "direct" else 1
        self.register_buffer("channel_mean", scale.mean.float())
        self.register_buffer("channel_sd", scale.sd.float())
        with seeding.seeded(seed, "forecaster"):
            self.enter = nn.Conv1d(n_channels, settings.width, 1)
            self.layers = nn.ModuleList(
                _Layer(settings.width, settings.kernel, 2**k) for k in range(settings.n_layers)
            )
            self.between = nn.Conv1d(settings.width, settings.width, 1)
            self.leave = nn.Conv1d(settings.width, 2 * self.said * n_channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(checks.of_type("bias", self.leave.bias, nn.Parameter))

    def forward(self, x: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        """Means and logarithms of SDs of standardised samples to come, both (n, n_steps, n_channels, n_times).

        Parameters
        ----------
        x : Tensor, shape (n, n_channels, n_times)
            Standardised.
        last : int, optional
            Only after so many samples, the last ones.
        """
        told = self._read(x)[1]
        if last is not None:
            told = told[:, :, -last:]
        mean, log_sd = self._said(told)
        if self.linear is not None:
            seen = x if last is None else x[:, :, -(last + self.linear.order - 1) :]
            mean = mean + self.linear(seen)[..., -told.shape[2] :]
        return mean, log_sd

    def _read(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each layer sees (n, width, n_times), and the sum of what they send to the output."""
        seen = [self.enter(x)]
        told = torch.zeros_like(seen[0])
        for layer in self.layers:
            hidden, more = layer(seen[-1])
            seen.append(hidden)
            told = told + more
        return seen, told

    def _said(self, told: Tensor) -> tuple[Tensor, Tensor]:
        made = self.leave(torch.relu(self.between(torch.relu(told))))
        mean, log_sd = made.unflatten(1, (2, self.said, self.channel_mean.shape[0])).unbind(1)
        return mean, log_sd.clamp(*LOG_SD)

    @torch.no_grad()
    def start_spread_(self, past: Tensor, future: Tensor) -> None:
        """Begins as sure as what it begins as may be: SDs are those of its errors on these windows."""
        mean, _ = self(past, last=self.settings.span)
        error = (_wanted(future, mean) - mean).square().mean((0, 3)).sqrt()
        bias = checks.of_type("bias", self.leave.bias, nn.Parameter)
        bias[error.numel() :] = error.clamp_min(1e-6).log().flatten()

    @torch.no_grad()
    def predict(self, run: Tensor) -> Forecast:
        """What is expected after every sample of a run (n_channels, n_times), in its units."""
        x = Scale(self.channel_mean, self.channel_sd)(run.float())[None]
        if self.settings.ahead == "direct":
            mean, log_sd = self(x)
            return Forecast(self._units(mean[0]), log_sd[0].exp() * self.channel_sd)
        return Forecast(self._units(self._rolled(x[0])), None)

    def _units(self, mean: Tensor) -> Tensor:
        return mean * self.channel_sd + self.channel_mean

    def _rolled(self, x: Tensor) -> Tensor:
        """Sample after sample, each foretold one seen in the next: (n_steps, n_channels, n_times).

        After every sample at once: what a layer sees at foretold samples is kept, at recorded ones it is shared.
        """
        recorded, told = self._read(x[None])
        layers = [checks.of_type("layer", one, _Layer) for one in self.layers]
        foretold: list[list[Tensor]] = [[] for _ in layers]
        out = [self._said(told)[0][0, 0]]

        def at(number: int, ahead: int) -> Tensor:
            """What a layer sees so many samples ahead (or back, from 0 down) of every sample."""
            if ahead > 0:
                return foretold[number][ahead - 1]
            return nn.functional.pad(recorded[number], (-ahead, 0))[:, :, : x.shape[1]]

        for k in range(1, self.settings.steps):
            hidden = self.enter(out[-1][None])
            told = torch.zeros_like(hidden)
            for i, layer in enumerate(layers):
                foretold[i].append(hidden)
                taps = [at(i, k - j * layer.dilation) for j in range(self.settings.kernel)]
                hidden, more = layer.one(taps)
                told = told + more
            out.append(self._said(told)[0][0, 0])
        return torch.stack(out)


def fit(
    data: Windows, scale: Scale, settings: Config = CONFIG_DEFAULT, *, linear: LinearForecast | None = None,
    seed: int = 0, folder: Path | None = None,
) -> Forecaster:  # fmt: skip
    """A network fitted on standardised windows, at its best step on held-out training runs; on the CPU, in eval mode.

    Parameters
    ----------
    data : Windows
        Of standardised runs.
    scale : Scale
    settings : Config
    linear : LinearForecast, optional
        Fitted on the same windows; None fits it where `settings.linear` asks for one.
    seed : int
    folder : Path, optional
        Where the log goes.
    """
    start = (linear or fit_linear(data, settings, seed)) if settings.linear else None
    model = Forecaster(data.past.shape[1], settings, scale, start, seed)
    learnt, held = learnt_and_held(data, settings, seed)
    model.start_spread_(data.past[learnt[:AT_ONCE]], data.future[learnt[:AT_ONCE]])

    about = "" if folder is None else store.content_hash(
        forecast=config.to_json(settings), **{name: values.numpy() for name, values in data._asdict().items()}
    )  # fmt: skip

    def batch(step: int) -> Mapping[str, Tensor]:
        draw = seeding.torch_generator(seed, "forecast batch", step)
        rows = learnt[torch.randint(len(learnt), (settings.train.batch_size,), generator=draw)]
        return {"past": data.past[rows], "future": data.future[rows]}

    def objective(
        module: nn.Module, given: Mapping[str, Any], progress: float, draw: Any
    ) -> dict[str, Tensor]:
        return {"surprise": surprise(module, given["past"], given["future"], settings)}

    def validate(module: nn.Module) -> float:
        device, parts = next(module.parameters()).device, held.split(64)
        told = [
            surprise(module, data.past[p].to(device), data.future[p].to(device), settings) * len(p)
            for p in parts
        ]
        return -float(torch.stack(told).sum()) / len(held)

    train.fit(
        model, batch, objective, settings.train, seed=seed, name="forecast", folder=folder, validate=validate,
        progress=False, about=about,
    )  # fmt: skip
    return model.cpu().eval()


def surprise(module: nn.Module, past: Tensor, future: Tensor, settings: Config) -> Tensor:
    """Minus the log-likelihood of what followed, without its constant, mean over everything foretold: a scalar."""
    mean, log_sd = module(past, last=settings.span)
    wanted = _wanted(future, mean)
    return (log_sd + 0.5 * ((wanted - mean) / log_sd.exp()).square()).mean()


def _wanted(future: Tensor, mean: Tensor) -> Tensor:
    """What followed each sample of a span, as means are shaped: (n, n_steps, n_channels, span)."""
    return future.unfold(2, mean.shape[1], 1)[:, :, : mean.shape[3]].permute(0, 3, 1, 2)


def save(model: Forecaster, folder: str | Path) -> Path:
    """Writes config.json and weights.safetensors into a folder, which `load` reads; gives the folder."""
    return tensor_folder.write(folder, model.state_dict(), {"config": config.to_json(model.settings)})


def load(folder: str | Path) -> Forecaster:
    """The network of a folder that `save` wrote, in eval mode.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DataFileError
        If the weights are not those that config.json was written with.
    """
    about, tensors = tensor_folder.read(folder, "Save one with braindec.decoder.forecasting.save.")
    start = None
    if "linear.weight" in tensors:
        start = LinearForecast(tensors["linear.weight"], tensors["linear.bias"])
    scale = Scale(tensors["channel_mean"], tensors["channel_sd"])
    model = Forecaster(len(scale.mean), config.from_json(Config, about["config"]), scale, start)
    model.load_state_dict(tensors)
    return model.eval()
