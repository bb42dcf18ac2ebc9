"""The shared response model as a measure: how alike new stimuli are in the space that both sides share."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson
from braindec.maths.srm import SharedResponse, deterministic_srm
from braindec.similarity import ALWAYS, Measure
from braindec.similarity._halves import both_ways, unit_length

K = 10  # dimensions of the shared response
N_ITERATIONS = 10  # Chen et al. 2015


def shared_response(systems: list[Tensor], k: int, generator: torch.Generator) -> SharedResponse:
    """What several systems have in common over the same stimuli.

    Parameters
    ----------
    systems : list of Tensor, shape (stimulus, dim_i)
        At least two; any numbers of features.
    k : int
        Dimensions, at most the smallest number of features and of stimuli.
    generator : torch.Generator
        See `maths.srm.deterministic_srm`.

    Returns
    -------
    SharedResponse
        `bases` (dim_i, k) and `shared` (k, stimulus), on the CPU.
    """
    checks.at_least("number of systems", len(systems), 2)
    checks.same_length("stimulus", **{f"system {i}": x for i, x in enumerate(systems)})
    # Its start from principal components is made in double precision on the CPU, wherever the systems are.
    return deterministic_srm([unit_length(x).T.cpu() for x in systems], k, generator, N_ITERATIONS)


def agreement(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor, k: int = K) -> Tensor:
    """Mean correlation over shared dimensions between both sides' views of rows that the model was not fitted on."""
    size = min(k, *xa.shape, ya.shape[1])
    # Small sides start from exact components, so nothing is drawn; larger ones start alike every time.
    fitted = shared_response([xa, ya], size, torch.Generator().manual_seed(0))
    first, second = fitted.bases
    return pearson((xb - xa.mean(0)) @ first.to(xb), (yb - ya.mean(0)) @ second.to(yb), 0).mean()


MEASURES = {
    "shared_response": Measure(
        "shared_response", both_ways(partial(agreement, k=K)), True, "permuted_stimuli",
        f"Chen et al. 2015, NeurIPS 28; {K} dimensions fitted on every other stimulus, correlation on the rest",
        unchanged_by=ALWAYS, fewest=12,
    ),
}  # fmt: skip
