"""What a sparse autoencoder is trained on, a named term at a time; every term reaches the weights it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse import codes
from braindec.sparse.autoencoder import SparseAutoencoder, exceeded
from braindec.sparse.codes import Code


@dataclass(frozen=True)
class Config:
    """Weights of the terms.

    Parameters
    ----------
    sparsity : str
        For ReLU, Gated and JumpReLU: ``"l1"`` sums activations times the norm of their atom, ``"tanh"`` saturates them
        (tanh(4 f ||d||)), ``"l0"`` counts them (JumpReLU alone: its thresholds feel the count).
        Of Gated they are those of its gates.
    sparsity_weight : float
        Times the mean over samples of the above; 0 for the TopK kinds, whose sparsity is exact.
    aux_weight : float
        Of what dead latents could explain of the error (AuxK); 1/32 in Gao et al. 2024.
    n_aux : int
        Dead latents that share it in a sample; 0 stands for half the inputs' dims.
    """

    sparsity: Literal["l1", "tanh", "l0"] = "l1"
    sparsity_weight: float = 0.0
    aux_weight: float = 1 / 32
    n_aux: int = 0

    def __post_init__(self) -> None:
        checks.one_of("sparsity", self.sparsity, ("l1", "tanh", "l0"))
        checks.at_least("sparsity_weight", self.sparsity_weight, 0.0)
        checks.at_least("aux_weight", self.aux_weight, 0.0)
        checks.at_least("n_aux", self.n_aux, 0)


@dataclass(frozen=True, eq=False)
class Terms:
    """Named scalars whose sum is minimised, and the code they were made from."""

    values: dict[str, Tensor]
    code: Code
    error: Tensor

    @property
    def total(self) -> Tensor:
        """The sum."""
        return torch.stack(list(self.values.values())).sum()


def terms(
    model: SparseAutoencoder, inputs: Tensor, config: Config, *, variance: Tensor, dead: Tensor | None = None,
    slopes: Tensor | None = None,
) -> Terms:  # fmt: skip
    """The terms of one batch.

    Parameters
    ----------
    model : SparseAutoencoder
    inputs : Tensor, shape (n_samples, n_dims)
    config : Config
    variance : Tensor, scalar
        Mean over samples of the squared distance of training inputs to their mean: ``reconstruction`` is the fraction
        of it that is left (fvu), averaged over the prefixes of a Matryoshka dictionary.
    dead : Tensor of bool, shape (n_latents,), optional
        Latents that have not been active for long.
    slopes : Tensor, shape (n_samples, n_dims), optional
        Gradients of an effect, for ``"gradient_topk"``.

    Returns
    -------
    Terms
        ``reconstruction``; ``sparsity`` where it has a weight; ``gate`` of Gated; ``aux`` where latents are dead.
        `error` is what the whole dictionary leaves, inputs - reconstruction, without a gradient.
    """
    code = model.encode(inputs, slopes)
    rebuilt = list(model.prefixes_of(code))
    left = torch.stack([(inputs - r).square().sum() for r in rebuilt]).mean()
    values = {"reconstruction": left / (len(inputs) * variance)}
    gates = model.gates(inputs, code) if model.config.activation == "gated" else None
    if config.sparsity_weight > 0:
        penalised = code if gates is None else gates
        values["sparsity"] = config.sparsity_weight * sparsity(model, penalised, inputs, config.sparsity)
    if gates is not None:
        values["gate"] = gate(model, gates, inputs) / (len(inputs) * variance)
    error = (inputs - rebuilt[-1]).detach()
    if config.aux_weight > 0 and dead is not None and bool(dead.any()):
        values["aux"] = config.aux_weight * aux(model, inputs, error, dead, config.n_aux)
    return Terms(values, code, error)


def sparsity(model: SparseAutoencoder, code: Code, inputs: Tensor, kind: str) -> Tensor:
    """Mean over samples of the penalty of active latents, a scalar; see `Config.sparsity`."""
    if kind == "l0":
        if model.config.activation != "jump_relu":
            raise checks.ConfigError(
                f"sparsity 'l0' needs activation 'jump_relu', whose thresholds feel it, got "
                f"{model.config.activation!r}; use 'l1' or 'tanh'."
            )
        with torch.no_grad():
            pre = codes.products(inputs - model.bias, model.encoder, code) + model.encoder_bias[code.latents]
        return exceeded(pre, model.thresholds()[code.latents], model.config.bandwidth).sum() / code.n_samples
    weighted = code.values * model.atoms.norm(dim=1)[code.latents]
    return (torch.tanh(4 * weighted) if kind == "tanh" else weighted).sum() / code.n_samples


def gate(model: SparseAutoencoder, gates: Code, inputs: Tensor) -> Tensor:
    """Squared error of what open gates alone would rebuild, summed, a scalar: all that trains them but the penalty.

    Atoms and bias are held: gates learn to tell the inputs, and the atoms do not lean towards gates.
    Rajamanoharan et al. 2024, arXiv:2404.16014, equation 8.
    """
    rebuilt = codes.decode(gates, model.atoms.detach()) + model.bias.detach()
    return (inputs - rebuilt).square().sum()


def aux(model: SparseAutoencoder, inputs: Tensor, error: Tensor, dead: Tensor, n_aux: int = 0) -> Tensor:
    """How badly dead latents alone rebuild what the living ones left, as a fraction of its variance, a scalar.

    Parameters
    ----------
    model : SparseAutoencoder
    inputs, error : Tensor, shape (n_samples, n_dims)
        `error` carries no gradient: dead latents learn from what is left, the others do not learn from them.
    dead : Tensor of bool, shape (n_latents,)
    n_aux : int
        Dead latents a sample; 0 stands for n_dims / 2. Fewer dead ones share a term scaled down by as much.

    Notes
    -----
    Gao et al. 2024, arXiv:2406.04093, section 2.4 and appendix A.2. The encoder is reached too: its rows are where dead
    latents are brought back to life.
    """
    which = torch.nonzero(dead).squeeze(1)
    wanted = n_aux or max(1, model.n_dims // 2)
    n_active = min(wanted, len(which))
    encoder, bias = model.encoder[which], model.encoder_bias[which]
    centred = inputs - model.bias.detach()
    found = codes.top_of_sample(centred.detach(), encoder.detach(), bias.detach(), n_active)
    code = codes.differentiable(found, centred.detach(), encoder, bias)
    explained = codes.decode(code.with_values(torch.relu(code.values)), model.atoms[which])
    spread = (error - error.mean(0)).square().sum().clamp_min(torch.finfo(error.dtype).tiny)
    return (n_active / wanted) * (error - explained).square().sum() / spread
