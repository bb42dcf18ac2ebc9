"""Feature absorption: where a latent that stands for a factor is silent because rarer latents carry the factor too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.codes import Code
from braindec.sparse.dictionary import Dictionary, activations
from braindec.sparse.matching import cosines

# All five as in SAEBench (Karvonen et al. 2025, arXiv:2503.09532, section on absorption).
JUMP = 0.03  # F1 that one more main latent must add
N_MAIN = 10  # main latents of a factor, at most
N_ABSORBING = 3  # latents of a sample that may carry the factor instead
LEAST_COSINE = 0.1  # of such a latent's atom with the factor's direction
LEAST_SHARE = 0.4  # of the factor's part in a sample that they must carry together


@dataclass(frozen=True, eq=False)
class Absorption:
    """How much of each factor is carried by other latents than those that stand for it.

    Parameters
    ----------
    fraction : Tensor, shape (n_factors,), float64
        Mean over stimuli with the factor of the share of its part that other latents carry, in [0, 1]; NaN where no
        stimulus has it.
    full : Tensor, shape (n_factors,), float64
        Share of these stimuli in which all main latents are silent and others carry the factor.
    main : tuple of tuple of int
        The latents that stand for each factor, the best first.
    f1 : Tensor, shape (n_factors,), float64
        Of "one of the main latents is active" for the factor.
    n : Tensor of int64, shape (n_factors,)
        Stimuli with the factor.
    """

    fraction: Tensor
    full: Tensor
    main: tuple[tuple[int, ...], ...]
    f1: Tensor
    n: Tensor


def directions(inputs: Tensor, factors: Tensor, *, penalty: float = 1e-3) -> Tensor:
    """The direction that each factor adds to the inputs: unit rows (n_factors, n_dims).

    Parameters
    ----------
    inputs : Tensor, shape (n_stimuli, n_dims)
        Not those on which absorption is judged.
    factors : Tensor of bool, shape (n_stimuli, n_factors)
    penalty : float
        Of ridge regression of the inputs on all factors at once, times the mean variance of a factor. As every other
        factor is in the regression, what merely goes with a factor is not in its direction.

    Notes
    -----
    The authors take a classifier's weights. Those lean away from whatever the factor shares with its neighbours, and
    what a latent writes along them is less than what it writes of the factor; so inputs are regressed on factors here.
    """
    checks.same_length("stimulus", inputs=inputs, factors=factors)
    x, y = inputs.double() - inputs.double().mean(0), factors.double() - factors.double().mean(0)
    gram = y.T @ y / len(y)
    gram = gram + penalty * gram.diagonal().mean() * torch.eye(
        len(gram), dtype=gram.dtype, device=gram.device
    )
    gained = torch.linalg.solve(gram, y.T @ x / len(y))
    return torch.nn.functional.normalize(gained, dim=1).to(inputs.dtype)


@torch.no_grad()
def absorption(
    model: Dictionary, inputs: Tensor, factors: Tensor, along: Tensor, *, n_main: int = N_MAIN, jump: float = JUMP
) -> Absorption:  # fmt: skip
    """Feature absorption of known factors.

    Parameters
    ----------
    model : Dictionary
        In eval mode.
    inputs : Tensor, shape (n_stimuli, n_dims)
    factors : Tensor of bool, shape (n_stimuli, n_factors)
    along : Tensor, shape (n_factors, n_dims)
        The direction of each factor, of norm 1; `directions` finds them in other stimuli, and where factors were
        planted they are known.
    n_main : int
        Latents that may stand for a factor; 1 where it is known not to be split. With more, a rare latent that says
        "this kind of it" counts as a part of a split factor as soon as it adds `jump` to F1.
    jump : float
        F1 that one more main latent must add.

    Notes
    -----
    Chanin et al. 2024, arXiv:2409.14507, as measured by SAEBench. Of a stimulus x with the factor, along p: x.p is its
    part (x less the dictionary's bias), f_i |d_i| cos(d_i, p) what latent i carries. The main latents carry m; A is
    the sum of the three others that carry most, cosine >= 0.1. Nothing is absorbed where m >= x.p or A < 0.4 x.p,
    everything where m <= 0, else a / (a + m) with a = min(A, x.p - m).
    """
    checks.same_length("stimulus", inputs=inputs, factors=factors)
    checks.same_length("factor", factors=factors.T, along=along)
    codes, present = activations(model, inputs).double(), factors.bool()
    carried = codes * model.atoms.norm(dim=1).double()
    cosine = cosines(along, model.atoms).double()  # (factor, latent)
    part = (inputs - origin(model, inputs)).double() @ along.double().T  # (stimulus, factor)
    found = []
    for k in range(present.shape[1]):
        main, f1 = _main(codes != 0, present[:, k], cosine[k], n_main, jump)
        has = present[:, k]
        fraction, full = _shares(carried[has] * cosine[k], part[has, k], main, cosine[k] >= LEAST_COSINE)
        found.append((fraction, full, main, f1))
    fractions, fulls, mains, f1s = zip(*found, strict=True)
    return Absorption(torch.stack(fractions), torch.stack(fulls), mains, torch.tensor(f1s), present.sum(0))


def origin(model: Dictionary, inputs: Tensor) -> Tensor:
    """What a dictionary rebuilds of a silent code, (1, n_dims): its bias."""
    none = torch.zeros(0, dtype=torch.int64, device=inputs.device)
    silent = Code(inputs.new_zeros(0), none, none.new_zeros(1), model.n_latents)
    return model.decode(silent)


def _main(
    active: Tensor, has: Tensor, cosine: Tensor, most: int, jump: float
) -> tuple[tuple[int, ...], float]:
    """Latents along the factor that tell it best together ("one of them is active"), greedily, and their F1."""
    along = torch.nonzero(cosine > 0).squeeze(1)
    chosen: list[int] = []
    said, best = torch.zeros_like(has), 0.0
    while len(chosen) < most and len(along):
        together = said[:, None] | active[:, along]
        right = (together & has[:, None]).sum(0).double()
        f1 = 2 * right / (together.sum(0) + has.sum()).clamp_min(1)
        top = int(f1.argmax())
        if float(f1[top]) < best + (jump if chosen else 1e-9):
            break
        chosen.append(int(along[top]))
        said, best = together[:, top], float(f1[top])
    return tuple(chosen), best


def _shares(
    carried: Tensor, part: Tensor, main: tuple[int, ...], near: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mean absorbed fraction, and share fully absorbed, of stimuli with a factor; NaN without any.

    `carried` (n, n_latents) lies along the factor, `part` (n,) is the whole of it, `near` says which latents may carry.
    """
    others = near.clone()
    others[list(main)] = False
    by_main = carried[:, list(main)].sum(1)
    by_others = carried.clamp_min(0) * others
    absorbed = by_others.topk(min(N_ABSORBING, carried.shape[1]), dim=1).values.sum(1)
    there = (part > 0) & (by_main < part) & (absorbed >= LEAST_SHARE * part)
    a = torch.minimum(absorbed, part - by_main)
    share = torch.where(by_main <= 0, torch.ones_like(a), a / (a + by_main).clamp_min(1e-300))
    fraction = torch.where(there, share, torch.zeros_like(share))
    silent = (carried[:, list(main)] == 0).all(1)
    return fraction.mean(), (there & silent).double().mean()
