"""Vector quantisation: a codebook of unit vectors, the nearest of which stands for what is put in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from braindec import checks

LEAST_NORM = 1e-9  # of a code's running sum; below, nothing has fallen to it for long, and it stays as it is


class Quantiser(nn.Module):
    """Codes that follow running sums of the vectors that fall to them; what nothing falls to starts anew in the data.

    Parameters
    ----------
    n_codes, n_dims : int
    decay : float
        Of the running sums, in [0, 1); 0 makes an update one step of spherical k-means.
    dead : float
        A code whose running share of the data is below this part of 1 / n_codes is dead, >= 0; 0: none ever is.

    Attributes
    ----------
    codes : Tensor, shape (n_codes, n_dims)
        Of unit length; drawn from torch's global generator (`seeding.seeded`) until `start_`.
    share : Tensor, shape (n_codes,)
        Running share of the data that falls to each code.

    Notes
    -----
    VQ-VAE, van den Oord et al. 2017, arXiv:1711.00937, moving averages of its appendix A.1; codes of unit length: Yu et
    al. 2022, arXiv:2110.04627; dead codes started anew: Dhariwal et al. 2020, arXiv:2005.00341.
    """

    codes: Tensor
    sums: Tensor
    share: Tensor

    def __init__(self, n_codes: int, n_dims: int, decay: float = 0.99, dead: float = 0.1):
        super().__init__()
        checks.at_least("n_codes", n_codes, 2)
        checks.at_least("n_dims", n_dims, 2)  # of one dim, there are two directions
        checks.in_range("decay", decay, 0.0, 0.999_999)
        checks.in_range("dead", dead, 0.0, 1.0)
        self.n_codes, self.decay, self.dead = n_codes, decay, dead
        self.register_buffer("codes", normalize(torch.randn(n_codes, n_dims), dim=1))
        self.register_buffer("sums", self.codes / n_codes)
        self.register_buffer("share", torch.full((n_codes,), 1 / n_codes))

    @torch.no_grad()
    def start_(self, codes: Tensor) -> None:
        """Takes over a codebook (n_codes, n_dims), every code with an equal share."""
        checks.same_length("code", codes=codes, quantiser=self.codes)
        self.codes.copy_(normalize(codes.float(), dim=1))
        self.sums.copy_(self.codes / self.n_codes)
        self.share.fill_(1 / self.n_codes)

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """Number of the code of the highest cosine: (..., n_dims) to int64 (...)."""
        with torch.autocast(vectors.device.type, enabled=False):  # near ties are many among hundreds of codes
            return (vectors.float() @ self.codes.T).argmax(-1)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest code of each vector, and its number; the gradient goes straight through to the vectors.

        Parameters
        ----------
        vectors : Tensor, shape (..., n_dims)
            Of unit length.

        Returns
        -------
        tuple of Tensor
            (..., n_dims) in the dtype of `vectors`, and int64 (...).
        """
        numbers = self.nearest(vectors)
        return vectors + (self.codes[numbers].to(vectors) - vectors).detach(), numbers

    @torch.no_grad()
    def update_(self, vectors: Tensor, generator: torch.Generator) -> int:
        """Moves codes towards a batch of unit vectors (..., n_dims); gives how many dead codes were started anew.

        A dead code becomes a vector of the batch, drawn with odds of how far it lies from its own code.
        """
        flat = vectors.detach().reshape(-1, vectors.shape[-1]).float()
        numbers = self.nearest(flat)
        part = torch.bincount(numbers, minlength=self.n_codes) / len(flat)
        sums = torch.zeros_like(self.sums).index_add_(0, numbers, flat) / len(flat)
        self.share.lerp_(part.to(self.share), 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        moved = self.sums.norm(dim=1, keepdim=True) > LEAST_NORM
        self.codes.copy_(torch.where(moved, normalize(self.sums, dim=1), self.codes))
        gone = torch.nonzero(self.share < self.dead / self.n_codes).flatten()[: len(flat)]
        if len(gone):
            far = 1 - (flat * self.codes[numbers]).sum(1)
            drawn = torch.multinomial(far.clamp_min(1e-6), len(gone), generator=generator)
            self.codes[gone] = flat[drawn]
            self.sums[gone] = flat[drawn] / self.n_codes
            self.share[gone] = 1 / self.n_codes
        return len(gone)


def frequencies(numbers: Tensor, n_codes: int, prior: Tensor | float = 1.0) -> Tensor:
    """How often each code comes: (n_codes,), sums to one.

    Parameters
    ----------
    numbers : int Tensor, any shape
    n_codes : int
    prior : Tensor, shape (n_codes,), or float
        Added to the counts, so that no code has probability zero.
    """
    counts = torch.bincount(numbers.flatten(), minlength=n_codes).double() + prior
    return counts / counts.sum()


def perplexity(numbers: Tensor, n_codes: int) -> float:
    """Exponential of the entropy of codes that came: 1 where it is always the same, n_codes where all come alike."""
    found = frequencies(numbers, n_codes, 0.0)
    return float(torch.exp(-torch.special.xlogy(found, found).sum()))
