"""Transcoders: what a layer makes of its inputs, as a sum of few atoms of its outputs, each read from the inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks, seeding
from braindec.maths.order import Order
from braindec.sparse import codes
from braindec.sparse.codes import Code
from braindec.sparse.steps import ADAM_EPS
from braindec.sparse.steps import Config as FitConfig


@dataclass(frozen=True)
class Config:
    """What a transcoder is.

    Parameters
    ----------
    n_latents : int
        Atoms.
    n_active : int
        Latents a sample: the largest pre-activations, where above 0.
    skip : bool
        A linear map from inputs to outputs beside the latents, which then tell what is not linear
        (Paulo et al. 2025, arXiv:2501.18823).
    """

    n_latents: int = 4096
    n_active: int = 32
    skip: bool = False

    def __post_init__(self) -> None:
        checks.at_least("n_latents", self.n_latents, 1)
        checks.in_range("n_active", self.n_active, 1, self.n_latents)


class Transcoder(nn.Module):
    """f = TopK(W_e x + b_e) of a layer's inputs, and f W_d + b_d (+ W_s x) for its outputs.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Dims.
    config : Config

    Attributes
    ----------
    encoder : Parameter, shape (n_latents, n_inputs)
    encoder_bias : Parameter, shape (n_latents,)
    atoms : Parameter, shape (n_latents, n_outputs)
        Of norm 1 while trained by `fit`.
    bias : Parameter, shape (n_outputs,)
    skip : Parameter, shape (n_outputs, n_inputs)
        Zero, and not trained, where the configuration has none.

    Notes
    -----
    Dunefsky et al. 2024, arXiv:2406.11944. Nothing is subtracted from inputs: inputs and outputs are other spaces.
    """

    def __init__(self, n_inputs: int, n_outputs: int, config: Config):
        super().__init__()
        checks.at_least("n_inputs", n_inputs, 1)
        checks.at_least("n_outputs", n_outputs, 1)
        self.n_inputs, self.n_outputs, self.config = n_inputs, n_outputs, config
        self.encoder = nn.Parameter(nn.functional.normalize(torch.randn(config.n_latents, n_inputs), dim=1))
        self.encoder_bias = nn.Parameter(torch.zeros(config.n_latents))
        self.atoms = nn.Parameter(nn.functional.normalize(torch.randn(config.n_latents, n_outputs), dim=1))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        self.skip = nn.Parameter(torch.zeros(n_outputs, n_inputs), requires_grad=config.skip)

    @property
    def n_latents(self) -> int:
        """Atoms."""
        return self.config.n_latents

    def pre_activations(self, inputs: Tensor) -> Tensor:
        """W_e x + b_e, dense (n_samples, n_latents), of inputs (n_samples, n_inputs)."""
        self._check(inputs)
        return nn.functional.linear(inputs, self.encoder, self.encoder_bias)

    def encode(self, inputs: Tensor) -> Code:
        """The active latents of each sample of inputs (n_samples, n_inputs); values are >= 0."""
        self._check(inputs)
        weights = inputs.detach(), self.encoder.detach(), self.encoder_bias.detach()
        places = codes.top_of_sample(*weights, self.config.n_active)
        found = codes.differentiable(places, inputs, self.encoder, self.encoder_bias)
        return found.with_values(torch.relu(found.values))

    def decode(self, code: Code) -> Tensor:
        """What the latents add to the outputs, and their bias: (n_samples, n_outputs)."""
        return codes.decode(code, self.atoms) + self.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of inputs (n_samples, n_inputs): (n_samples, n_outputs)."""
        return self.decode(self.encode(inputs)) + nn.functional.linear(inputs, self.skip)

    def _check(self, inputs: Tensor) -> None:
        checks.n_axes("inputs", inputs, ("sample", "dim"))
        if inputs.shape[1] != self.n_inputs:
            raise ValueError(
                f"inputs has {inputs.shape[1]} along axis 'dim' but the transcoder has {self.n_inputs}; "
                "they must match."
            )


def fit(inputs: Tensor, outputs: Tensor, config: Config, settings: FitConfig, *, seed: int) -> Transcoder:
    """A transcoder of a layer, from what went in and what came out; in memory, in one process.

    Parameters
    ----------
    inputs : Tensor, shape (n_samples, n_inputs)
    outputs : Tensor, shape (n_samples, n_outputs)
    config : Config
    settings : steps.Config
        Its `n_steps`, `batch_size`, `lr`, `warmup_fraction`, `decay_fraction` and `clip_norm` are used; what is lost is
        the fraction of the outputs' variance that is left.
    seed : int

    Returns
    -------
    Transcoder
        In eval mode, on the scale of its inputs and outputs.

    Raises
    ------
    ValueError
        If there are not as many inputs as outputs, or outputs do not vary.
    DivergenceError
        If the loss is not finite.
    """
    n = checks.same_length("sample", inputs=inputs, outputs=outputs)
    x_scale, y_scale = (
        v.shape[1] ** 0.5 / float(v.norm(dim=1).mean().clamp_min(1e-30)) for v in (inputs, outputs)
    )
    x, y = inputs.detach().float() * x_scale, outputs.detach().float() * y_scale
    variance = (y - y.mean(0)).square().sum(1).mean()
    if not float(variance) > 0:
        raise ValueError("outputs do not vary: there is nothing to tell.")
    with seeding.seeded(seed, "transcoder", "weights"):
        model = Transcoder(inputs.shape[1], outputs.shape[1], config).to(x.device).train()
    with torch.no_grad():
        model.bias.copy_(y.mean(0))
    rate = settings.rate(config.n_latents)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, eps=ADAM_EPS)
    order = Order(n, min(settings.batch_size, n), seed, "transcoder")
    for step in range(settings.n_steps):
        rows = order.rows(step).to(x.device)
        _step(model, optimizer, x[rows], y[rows], variance, rate * settings.factor(step), settings.clip_norm)
    return _folded(model.eval(), x_scale, y_scale)


def _step(
    model: Transcoder, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, variance: Tensor, lr: float, clip: float
) -> None:  # fmt: skip
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss = (y - model(x)).square().sum(1).mean() / variance
    if not bool(loss.isfinite()):
        raise checks.DivergenceError(
            f"training diverged: loss {float(loss)}. Lower lr.", {"loss": float(loss)}
        )
    loss.backward()
    if clip > 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    with torch.no_grad():
        model.atoms.copy_(nn.functional.normalize(model.atoms, dim=1))


@torch.no_grad()
def _folded(model: Transcoder, x_scale: float, y_scale: float) -> Transcoder:
    """The same map of inputs and outputs as they are: the one that was trained saw both times their scale."""
    model.encoder.mul_(x_scale / y_scale)
    model.skip.mul_(x_scale / y_scale)
    model.encoder_bias.div_(y_scale)
    model.bias.div_(y_scale)
    return model
