"""Sparse autoencoders of a dataset's embeddings: trained on one part, judged on another beside simpler ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks, config, seeding, store
from braindec.data import NeuralDataset
from braindec.decoder import versions
from braindec.evaluate import inside_names, inside_shared
from braindec.evaluate.inside_latents import flat
from braindec.sparse import Config, FitConfig, SparseAutoencoder, baselines, dictionary, fit, measures, saved
from braindec.sparse.autoencoder import Activation
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.stability import stability
from braindec.types import Embeddings, Report

METADATA = "braindec_inside"  # in the metadata of cfg.json
HELD_OUT = 0.2  # of embeddings without a split
SHARING = inside_shared.Settings()


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
    """

    model: SparseAutoencoder
    rows: list[dict[str, float]] = field(default_factory=list)
    n_train: int = 0

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
    return _fitted(flat(embeddings, train), settings, progress)


def _fitted(inputs: Tensor, settings: Settings, progress: bool = True) -> Trained:
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
    embeddings: Embeddings, seed: int, dataset: NeuralDataset | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Stimuli to train on and to judge on; they share none."""
    test: set[str] = set()
    if dataset is not None and dataset.split is not None and "test" in dataset.split.parts:
        test = set(dataset.part("test").stimulus_ids)
    if not test:
        n = len(embeddings.ids)
        order = seeding.numpy_generator(seed, "sae parts").permutation(n)
        test = {embeddings.ids[i] for i in order[: max(2, round(HELD_OUT * n))]}
    train = tuple(i for i in embeddings.ids if i not in test)
    checks.at_least("embeddings to train on", len(train), 2)
    return train, tuple(i for i in embeddings.ids if i in test)


def save(trained: Trained, folder: Path, embeddings: Embeddings, settings: Settings) -> Path:
    """The folder in SAELens' layout; its metadata name the space, so that other embeddings are refused."""
    about = {
        "space": embeddings.space,
        "provenance": embeddings.provenance,
        "settings": config.to_json(settings),
    }
    return saved.save(trained.model, folder, {METADATA: about})


def load(folder: Path, embeddings: Embeddings) -> tuple[SparseAutoencoder, Settings]:
    """The autoencoder of a folder and what it was trained with; one of another space is refused.

    An autoencoder that was not made by `braindec sae fit` (SAELens' own) brings default settings.

    Raises
    ------
    FileNotFoundError
        With the command that makes one.
    SpaceMismatchError
        If it was trained on another space, or takes another number of dims.
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
    kind = model.config
    own = Settings(
        n_latents=kind.n_latents, n_active=min(kind.n_active, kind.n_latents), activation=kind.activation
    )
    told = about.get("settings")
    return model, own if told is None else config.from_json(Settings, told, str(folder))


def judge(
    model: SparseAutoencoder,
    embeddings: Embeddings,
    settings: Settings,
    dataset: NeuralDataset | None = None,
    *,
    candidates: inside_names.Words | None = None,
    others: Mapping[str, Embeddings] | None = None,
    subjects: Sequence[int] | None = None,
    sharing: inside_shared.Settings = SHARING,
) -> Report:
    """What it keeps of stimuli it was not trained on, what its latents are called, and who else has them.

    Parameters
    ----------
    model : SparseAutoencoder
    embeddings : Embeddings
    settings : Settings
        It was trained with.
    dataset : NeuralDataset, optional
        With it, latents are also compared with those of its subjects' brains and of their regions.
    candidates : Words, optional
        For names.
    others : mapping of str to Embeddings, optional
        Of the same stimuli by other models; an autoencoder of each is trained and its latents are paired.
    subjects : sequence of int, optional
        Whose brains are compared; None for all.
    sharing : inside_shared.Settings
    """
    train, test = parts(embeddings, settings.seed, dataset)
    inputs, unseen = flat(embeddings, train), flat(embeddings, test)
    other = _fitted(inputs, replace(settings, seed=settings.seed + 1)).model  # the same training part
    kept = measures.measure(model, unseen)
    rows = [["this autoencoder", model.n_latents, *_cells(kept)]]
    for name in ("pca", "ica", "nmf", "kmeans", "random"):
        one = _baseline(name, inputs, settings, round(kept.l0))
        rows.append([name, one.n_latents, *_cells(measures.measure(one, unseen))])
    often = dictionary.frequencies(other, unseen)
    generator = seeding.torch_generator(settings.seed, "sae stability")
    share, chance = stability(model, other, frequency=often, generator=generator).at()
    sides = [inside_shared.of_embeddings("another seed", other, test, unseen)]
    sides += [_other_model(name, own, settings, train, test) for name, own in (others or {}).items()]
    brains = None if dataset is None else _of(dataset, subjects)
    whole, regions = ([], {}) if brains is None else inside_shared.brains(brains, train, test, sharing)
    own = inside_shared.of_embeddings("this autoencoder", model, test, unseen)
    shared = inside_shared.shared(own, sides, whole, regions, sharing)
    names = inside_names.named(model, embeddings, candidates, settings.seed)
    said = [
        f"of {len(unseen)} embeddings that it was not trained on, {kept.fvu:.3f} of the variance is left with "
        f"{kept.l0:.1f} latents each",
        f"{kept.dead:.1%} of {model.n_latents} latents are never active there, {kept.dense:.1%} in more than a tenth",
        f"{share:.0%} of its latents are found again from another seed (by chance {chance:.0%})",
        inside_shared.words(shared),
        *([names.words()] if names.found is not None else []),
    ]
    edges, counts = kept.histogram()
    panels: tuple[inside_shared.Panel, ...] = (
        ("What it keeps", "text", {"text": [f"- {line}" for line in said]}),
        ("Beside other dictionaries", "table", {"columns": COLUMNS, "rows": rows, "caption": CAPTION}),
        ("How often latents are active", "curve", {
            "step": 10 ** ((edges[1:] + edges[:-1]) / 2).numpy(), "series": {"latents": counts.numpy()},
            "xlabel": "share of stimuli", "ylabel": "latents", "section": "scores",
        }),
        *inside_names.panels(names, embeddings, dictionary.frequencies(model, flat(embeddings)), dataset),
        *inside_shared.panels(shared),
    )  # fmt: skip
    run = {
        "title": "A sparse autoencoder", "summary": f"{said[0]}.", "said": said, "settings": config.to_json(settings),
        "space": embeddings.space, "versions": versions(), "seed": settings.seed, "table": rows,
        "names": {str(i): name for i, name in names.certain.items()}, "shared": [one.row() for one in shared],
    }  # fmt: skip
    return Report((), run, panels)


def _of(dataset: NeuralDataset, subjects: Sequence[int] | None) -> NeuralDataset:
    if subjects is None:
        return dataset
    known = sorted({trials.subject for trials in dataset.trials.values()})
    chosen = {checks.one_of("subject", subject, known) for subject in subjects}
    return dataset.select(keys=[key for key, trials in dataset.trials.items() if trials.subject in chosen])


def _other_model(
    name: str, embeddings: Embeddings, settings: Settings, train: tuple[str, ...], test: tuple[str, ...]
) -> inside_shared.Side:
    """An autoencoder of another model's embeddings of the same training stimuli, and what it is shown."""
    made = _fitted(flat(embeddings, train), settings).model
    return inside_shared.of_embeddings(name, made, test, flat(embeddings, test))


COLUMNS = [
    "dictionary",
    "latents",
    "variance left (fvu)",
    "active a stimulus (L0)",
    "cosine",
    "dead",
    "dense",
]
CAPTION = (
    "On stimuli that none of them was fitted on. Others keep as many latents a stimulus as the autoencoder does; PCA "
    "and ICA have at most as many latents as dims. k-means always has one."
)


def _cells(m: measures.Measures) -> list[str]:
    return [f"{m.fvu:.3f}", f"{m.l0:.1f}", f"{m.cosine:.3f}", f"{m.dead:.1%}", f"{m.dense:.1%}"]


def _baseline(name: str, inputs: Tensor, settings: Settings, n_active: int) -> Dictionary:
    most = min(inputs.shape) if name in ("pca", "ica") else len(inputs)
    n = min(settings.n_latents, most)
    return baselines.fit(name, inputs, n, seed=settings.seed, n_active=min(max(1, n_active), n))


def embeddings_of(ids: list[str], values: np.ndarray, name: str) -> Embeddings:
    """Embeddings from a file's arrays, (n, dim) or (n, token, dim)."""
    cube = values[:, None] if values.ndim == 2 else values
    return Embeddings(
        tuple(ids), np.asarray(cube, dtype=np.float32), name, {"file": name}, store.content_hash(values=cube)
    )
