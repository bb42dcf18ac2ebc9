"""Sparse autoencoders: embeddings as sums of few atoms, how they are trained, kept and judged."""

from __future__ import annotations

from braindec.sparse.autoencoder import Config, SparseAutoencoder
from braindec.sparse.codes import Code
from braindec.sparse.fitting import fit
from braindec.sparse.steps import Config as FitConfig
from braindec.sparse.steps import Fitted

__all__ = ["Code", "Config", "FitConfig", "Fitted", "SparseAutoencoder", "fit"]
