"""Recordings made to order: epochs of M/EEG drawn for a subject, a session and a class, and how they are judged.

Tensors in, tensors out, as in `encoding`, from which it differs by what comes out: trials with their noise, and not the
response that is expected. The room stands above `priors`, whose noising and samplers it shares; what joins prepared
data with it is `evaluate.erp_synthesis`.
"""

from __future__ import annotations

from braindec.synthesis.conditions import Epochs, Factors, cell_means
from braindec.synthesis.diffusion import Config, EpochDiffusion, fit, load, save
from braindec.synthesis.gaussian import GaussianEpochs, fit_gaussian

__all__ = [
    "Config",
    "EpochDiffusion",
    "Epochs",
    "Factors",
    "GaussianEpochs",
    "cell_means",
    "fit",
    "fit_gaussian",
    "load",
    "save",
]
