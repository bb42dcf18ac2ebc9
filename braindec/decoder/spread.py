"""How far apart the prior's samples lie for each subject: as far as from the truth, further for noisier brains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from braindec import seeding
from braindec.decoder.cross_fit import CrossFit
from braindec.priors._spread import N_SAMPLES, spread_ratio

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

MIN_ROWS, MOST_ROWS = 16, 96  # stimuli of a subject; fewer say nothing, more would only take time
LOWEST, HIGHEST = 0.5, 2.0  # a subject that is further off than this is no matter of spread


class Spread(nn.Module):
    """One subject's factor on the noise that samples begin with, beside the prior's own."""

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(()))


def spread_of(decoder: BrainDecoder, key: str, n: int) -> Tensor | None:
    """A subject's factor for each of `n` rows; None where there is none."""
    if key not in decoder.spreads:
        return None
    return decoder.spreads[key].get_buffer("factor").expand(n)


@torch.no_grad()
def fit_spreads_(decoder: BrainDecoder, fitted: CrossFit, held: Tensor | None = None) -> None:
    """Sets the factor of each subject of a fit.

    From its mean out-of-fold predictions: of stimuli that the prior was not trained on, where `held` names their rows
    among all rows of the fit; of all stimuli of subjects that the prior never met.
    """
    prior = decoder.prior
    if prior is None or prior.closed_form or prior.forgets:
        return
    first = 0
    for key, (raw, truth, mean) in fitted.held_out.items():
        free = torch.zeros(len(raw), dtype=torch.bool)
        own = torch.arange(len(raw)) if held is None else held - first
        free[own[(own >= 0) & (own < len(raw))]] = True
        first += len(raw)
        rows = (mean & free).nonzero().flatten()
        if len(rows) < MIN_ROWS:
            continue
        rows = rows[:: -(-len(rows) // MOST_ROWS)]
        told = {name: values[rows] for name, values in fitted.told.get(key, {}).items()}
        condition = decoder.condition(decoder.finished(key, raw[rows]))
        generator = seeding.torch_generator(decoder.settings.seed, "spread", key)
        samples = prior.sample(condition, generator=generator, n_samples=N_SAMPLES, told=told)
        error, variance = spread_ratio(samples, truth[rows]).sum(1).tolist()
        spread = Spread()
        spread.factor.fill_(min(max((max(error, 0.0) / max(variance, 1e-30)) ** 0.5, LOWEST), HIGHEST))
        decoder.spreads[key] = spread
