"""Sparse autoencoders of a dataset's embeddings: trained on one part, judged on another beside simpler ones."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks, config, seeding, store
from braindec.data import NeuralDataset
from braindec.evaluate.inside_latents import flat
from braindec.sparse import Config, FitConfig, SparseAutoencoder, fit, saved
from braindec.sparse.autoencoder import Activation
from braindec.types import Embeddings

METADATA = "braindec_inside"  # in the metadata of cfg.json
HELD_OUT = 0.2  # of embeddings without a split


@dataclass(frozen=True)
class Settings:
    """What is trained and how.

    Parameters
    ----------
    n_latents, n_active : int
    activation : str
        As in `autoencoder.Config`.
    n_steps, batch_size : int
    lr : float
    seed : int
    """

    n_latents: int = 512
    n_active: int = 16
    activation: Activation = "batch_topk"
    n_steps: int = 2000
    batch_size: int = 256
    lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        self.model()

    def model(self) -> Config:
        """Of the autoencoder; settings that contradict each other are refused."""
        return Config(self.n_latents, self.activation, self.n_active)


@dataclass(frozen=True, eq=False)
class Trained:
    """An autoencoder and its training's last words.

    Parameters
    ----------
    model : SparseAutoencoder
    rows : list of dict
        See `steps.Fitted`.
    n_train : int
    ids : tuple of str
        Of what it was trained on, where these are stimuli.
    """

    model: SparseAutoencoder
    rows: list[dict[str, float]] = field(default_factory=list)
    n_train: int = 0
    ids: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What training ended with."""
        last = self.rows[-1]
        return [
            f"trained on {self.n_train} embeddings in {int(last['step'])} steps: reconstruction "
            f"{last['reconstruction']:.3f} of the variance left, {last['l0']:.1f} latents active, "
            f"{last['dead']:.1%} dead"
        ]


def fit_dictionary(
    embeddings: Embeddings, settings: Settings, dataset: NeuralDataset | None = None, *, progress: bool = True
) -> Trained:
    """An autoencoder of the embeddings outside the test part (of the dataset's split, or a fifth drawn by the seed).

    Parameters
    ----------
    embeddings : Embeddings
        Tokens are taken as their mean.
    settings : Settings
    dataset : NeuralDataset, optional
    progress : bool
    """
    train, _ = parts(embeddings, settings.seed, dataset)
    return replace(fitted(flat(embeddings, train), settings, progress), ids=train)


def fitted(inputs: Tensor, settings: Settings, progress: bool = True) -> Trained:
    """An autoencoder of these rows (n, n_dims)."""
    batch = min(settings.batch_size, len(inputs))
    training = FitConfig(
        n_steps=settings.n_steps,
        batch_size=batch,
        lr=settings.lr,
        dead_after=20 * batch * max(1, settings.n_steps // 200),
    )
    made = fit(inputs, settings.model(), training, seed=settings.seed, progress=progress)
    return Trained(made.model, made.rows, len(inputs))


def parts(
    embeddings: Embeddings,
    seed: int,
    dataset: NeuralDataset | None = None,
    trained_on: Collection[str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Stimuli to train on and to judge on; they share none.

    Parameters
    ----------
    embeddings : Embeddings
    seed : int
    dataset : NeuralDataset, optional
        Its split's test part is judged on.
    trained_on : collection of str, optional
        Stimuli that an autoencoder has seen: never judged on. Without a split all the others are.

    Raises
    ------
    ConfigError
        If it has seen all that could be judged on.
    """
    test: set[str] = set()
    seen = set(trained_on or ())
    if dataset is not None and dataset.split is not None and "test" in dataset.split.parts:
        test = set(dataset.part("test").stimulus_ids) & set(embeddings.ids)
    elif len(seen & set(embeddings.ids)) > 1:
        test = set(embeddings.ids) - seen
    if not test:
        n = len(embeddings.ids)
        order = seeding.numpy_generator(seed, "sae parts").permutation(n)
        test = {embeddings.ids[i] for i in order[: max(2, round(HELD_OUT * n))]}
    if test & seen and len(test - seen) < 2:
        raise checks.ConfigError(
            f"the autoencoder was trained on {len(test & seen)} of the {len(test)} stimuli to judge it on, so that too "
            "few are left. Fit it on what is not tested, braindec sae fit DIR --target ..., or judge it on others."
        )
    train = tuple(i for i in embeddings.ids if i not in test)
    checks.at_least("embeddings to train on", len(train), 2)
    return train, tuple(i for i in embeddings.ids if i in test and i not in seen)


def save(trained: Trained, folder: Path, embeddings: Embeddings, settings: Settings) -> Path:
    """The folder in SAELens' layout; its metadata name the space and what was trained on: `load` holds others to it."""
    about = {
        "space": embeddings.space,
        "provenance": embeddings.provenance,
        "settings": config.to_json(settings),
        "trained_on": list(trained.ids),
        "trained_on_values": _values_hash(embeddings, trained.ids),
    }
    return saved.save(trained.model, folder, {METADATA: about})


def load(folder: Path, embeddings: Embeddings) -> tuple[SparseAutoencoder, Settings, tuple[str, ...] | None]:
    """The autoencoder of a folder, what it was trained with, and on which stimuli; one of another space is refused.

    An autoencoder that was not made by `braindec sae fit` (SAELens' own) brings default settings, and None for stimuli.

    Raises
    ------
    FileNotFoundError
        With the command that makes one.
    SpaceMismatchError
        If it was trained on another space or on another file's values, or takes another number of dims.
    """
    model = saved.load(folder)
    about: Mapping[str, Any] = (
        store.read_json(folder / saved.CONFIG, "").get("metadata", {}).get(METADATA, {})
    )
    way_out = "Fit one on these embeddings with: braindec sae fit"
    if about:
        checks.same_space("autoencoder", embeddings.space, str(about["space"]), way_out)
    n_dims = int(embeddings.values.shape[2])
    if model.n_dims != n_dims:
        raise checks.SpaceMismatchError(
            f"the autoencoder takes {model.n_dims} dims, the embeddings have {n_dims}. {way_out}"
        )
    if "file" in embeddings.identity and about:
        _same_values(embeddings, about, way_out)
    kind = model.config
    own = Settings(
        n_latents=kind.n_latents, n_active=min(kind.n_active, kind.n_latents), activation=kind.activation
    )
    told = about.get("settings")
    trained_on = tuple(str(i) for i in about["trained_on"]) if "trained_on" in about else None
    return model, own if told is None else config.from_json(Settings, told, str(folder)), trained_on


def _same_values(embeddings: Embeddings, about: Mapping[str, Any], way_out: str) -> None:
    """Refuses a file of the same name whose vectors of the training stimuli are others; warns where that is unknown."""
    if embeddings.provenance == about.get("provenance"):
        return
    ids = about.get("trained_on", ())
    if ids and set(ids) <= set(embeddings.ids):
        if _values_hash(embeddings, ids) != about["trained_on_values"]:
            raise checks.SpaceMismatchError(
                f"the autoencoder was trained on another {embeddings.space}: in this one the {len(ids)} stimuli that "
                f"it was trained on have other values. {way_out}"
            )
        return
    warnings.warn(
        f"the autoencoder was trained on another {embeddings.space}, of other stimuli or values: what follows "
        "holds only if the same model made both.",
        stacklevel=3,
    )


def _values_hash(embeddings: Embeddings, ids: Sequence[str]) -> str:
    values = np.asarray(embeddings.of(tuple(ids)), dtype=np.float32) if ids else np.zeros(0, np.float32)
    return store.content_hash(values=values)


def embeddings_of(ids: list[str], values: np.ndarray, name: str) -> Embeddings:
    """Embeddings from a file's arrays, (n, dim) or (n, token, dim)."""
    cube = values[:, None] if values.ndim == 2 else values
    return Embeddings(
        tuple(ids), np.asarray(cube, dtype=np.float32), name, {"file": name}, store.content_hash(values=cube)
    )
