"""How good a dictionary is on given inputs: what is left, how many latents speak, how often each, what is shrunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.dictionary import BLOCK, Dictionary, coded


@dataclass(frozen=True, eq=False)
class Measures:
    """Numbers of one dictionary on `n_samples` inputs.

    Parameters
    ----------
    n_samples : int
    fvu : float
        Squared error over squared distance to the inputs' mean, both summed over all samples and dims; 0 is perfect,
        1 what the mean alone reaches.
    fvu_dims : Tensor, shape (n_dims,), float64
        The same of each dim; NaN where a dim never varies.
    l0 : float
        Mean number of latents of a sample that are not zero.
    frequency : Tensor, shape (n_latents,), float64
        Share of samples in which a latent is not zero, in [0, 1].
    dead, dense : float
        Share of latents that are never active; that are active in more than `dense_from` of the samples.
    cosine : float
        Mean cosine of an input with its reconstruction, bias included.
    shrinkage : float
        Mean norm of a reconstruction over that of its input; below 1 where activations are too small.
    bias : float
        Mean squared norm of reconstructions over their mean product with the inputs; 1 where the error is orthogonal
        to the reconstruction, below 1 where reconstructions are too small.
    """

    n_samples: int
    fvu: float
    fvu_dims: Tensor
    l0: float
    frequency: Tensor
    dead: float
    dense: float
    cosine: float
    shrinkage: float
    bias: float

    @property
    def fvu_mean_of_dims(self) -> float:
        """Mean fvu of the dims that vary: every dim counts alike, however little of the variance it holds."""
        return float(self.fvu_dims.nanmean())

    def histogram(self, n_bins: int = 20, lowest: float = 1e-5) -> tuple[Tensor, Tensor]:
        """How many latents are how often active, on a log10 axis.

        Returns
        -------
        edges : Tensor, shape (n_bins + 1,)
            log10 of frequency, from log10(lowest) to 0.
        counts : Tensor, shape (n_bins,)
            Latents that are active at all; those below `lowest` stand in the first bin.
        """
        checks.at_least("n_bins", n_bins, 1)
        edges = torch.linspace(float(torch.tensor(lowest).log10()), 0.0, n_bins + 1)
        # In the edges' own precision: what rounding puts below the first one is not counted.
        alive = self.frequency[self.frequency > 0].log10().float().cpu().clamp_min(edges[0])
        counts = torch.histc(alive, n_bins, min=float(edges[0]), max=0.0)
        return edges, counts.long()


@torch.no_grad()
def measure(model: Dictionary, inputs: Tensor, *, dense_from: float = 0.1, block: int = BLOCK) -> Measures:
    """All measures in one pass over the inputs, pooled over samples and never averaged over batches.

    Parameters
    ----------
    model : Dictionary
        In eval mode.
    inputs : Tensor, shape (n_samples, n_dims)
        Not those it was trained on.
    dense_from : float
        Frequency above which a latent is dense.
    block : int
        Samples at a time.

    Raises
    ------
    ValueError
        If there are fewer than two samples or they do not vary.
    """
    checks.at_least("n_samples", len(inputs), 2)
    sums = _Sums(model.n_latents, inputs)
    for part, code in coded(model, inputs, block=block):
        sums.add(part.double(), model.decode(code).double())
        sums.fired += torch.bincount(code.latents[code.values != 0], minlength=model.n_latents)
    spread = sums.squares - sums.total.square() / len(inputs)  # of inputs less their first block's mean
    spread = torch.where(spread > 1e-12 * sums.squares, spread, torch.zeros_like(spread))
    if not bool(spread.sum() > 0):
        raise ValueError("inputs do not vary: no variance can be left unexplained.")
    frequency = sums.fired / len(inputs)
    return Measures(
        n_samples=len(inputs),
        fvu=float(sums.error.sum() / spread.sum()),
        fvu_dims=sums.error / torch.where(spread > 0, spread, torch.nan),
        l0=float(frequency.sum()),
        frequency=frequency,
        dead=float((frequency == 0).double().mean()),
        dense=float((frequency > dense_from).double().mean()),
        cosine=float(sums.cosine / len(inputs)),
        shrinkage=float(sums.shrinkage / len(inputs)),
        bias=float(sums.norms / sums.products),
    )


class _Sums:
    """What is added up, block by block, in float64."""

    def __init__(self, n_latents: int, inputs: Tensor):
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=inputs.device)

        self.error, self.total, self.squares = (zeros(inputs.shape[1]) for _ in range(3))
        self.fired = zeros(n_latents)
        self.cosine, self.shrinkage, self.norms, self.products = (zeros() for _ in range(4))
        self._origin: Tensor | None = None

    def add(self, inputs: Tensor, rebuilt: Tensor) -> None:
        """A block of inputs (n, n_dims) and what was rebuilt of them."""
        if self._origin is None:  # sums of squares around it lose no digits to a large mean
            self._origin = inputs.mean(0)
        centred = inputs - self._origin
        self.total += centred.sum(0)
        self.squares += centred.square().sum(0)
        self.error += (inputs - rebuilt).square().sum(0)
        products, norm, other = (inputs * rebuilt).sum(1), inputs.norm(dim=1), rebuilt.norm(dim=1)
        tiny = torch.finfo(torch.float64).tiny
        self.cosine += (products / (norm * other).clamp_min(tiny)).sum()
        self.shrinkage += (other / norm.clamp_min(tiny)).sum()
        self.norms += other.square().sum()
        self.products += products.sum()


@dataclass(frozen=True)
class Recovered:
    """What a reconstruction keeps of an effect of the inputs.

    Parameters
    ----------
    original, rebuilt, zero, mean : float
        The effect of inputs, of their reconstructions, of zeros and of the mean input in their place.
    """

    original: float
    rebuilt: float
    zero: float
    mean: float

    @property
    def over_zero(self) -> float:
        """(zero - rebuilt) / (zero - original): 1 where nothing is lost, 0 where nothing is kept."""
        return self._share("zero", self.zero)

    @property
    def over_mean(self) -> float:
        """The same with the mean input as what is left when nothing is known; the harder of the two."""
        return self._share("mean", self.mean)

    def _share(self, name: str, ablated: float) -> float:
        if ablated == self.original:
            raise ValueError(
                f"the effect of the {name} input is that of the inputs themselves ({ablated:g}): "
                "there is nothing to recover."
            )
        return (ablated - self.rebuilt) / (ablated - self.original)


def recovered(
    effect: Callable[[Tensor], float], inputs: Tensor, rebuilt: Tensor, *, mean: Tensor | None = None
) -> Recovered:
    """What a function of embeddings (retrieval, a probe, a decoder's loss) still does after reconstruction.

    Parameters
    ----------
    effect : callable
        Takes inputs (n_samples, n_dims), gives a number; larger or smaller may be better. It must bear equal rows.
    inputs, rebuilt : Tensor, shape (n_samples, n_dims)
        `dictionary.rebuilt` makes the second.
    mean : Tensor, shape (n_dims,), optional
        Of training inputs; else that of `inputs`.
    """
    checks.same_length("sample", inputs=inputs, rebuilt=rebuilt)
    centre = inputs.mean(0) if mean is None else mean
    return Recovered(
        original=float(effect(inputs)),
        rebuilt=float(effect(rebuilt)),
        zero=float(effect(torch.zeros_like(inputs))),
        mean=float(effect(centre.to(inputs).expand_as(inputs))),
    )
