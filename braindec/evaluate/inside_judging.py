"""A dictionary of embeddings judged: what it keeps beside simpler ones, what latents are called, who else has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from braindec import checks, config, seeding
from braindec.data import NeuralDataset
from braindec.decoder import versions
from braindec.evaluate import inside_meaning, inside_names, inside_shared
from braindec.evaluate.inside_fitting import Settings, fitted, parts
from braindec.evaluate.inside_latents import flat
from braindec.evaluate.inside_shared import Shared, Side
from braindec.sparse import SparseAutoencoder, baselines, dictionary, measures
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.measures import Measures, Recovered
from braindec.sparse.stability import stability
from braindec.types import Embeddings, Report

SHARING = inside_shared.Settings()
BASELINES = ("pca", "ica", "nmf", "kmeans", "random")
COLUMNS = [
    "dictionary", "latents", "variance left (fvu)", "active a stimulus (L0)", "cosine", "dead", "dense", "found again",
]  # fmt: skip
CAPTION = (
    "On stimuli that none of them was fitted on. Others keep as many latents a stimulus as the autoencoder does; PCA "
    "and ICA have at most as many latents as dims. k-means always has one. "
    "Found again: how often a reconstruction finds the embedding that it was made of among all of these."
)
Panel = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Judged:
    """An autoencoder, embeddings to train on and to judge on, and the same of another seed.

    `known` says whether it is known that the autoencoder was not trained on the latter; `left_out` is how many of the
    test part it was trained on.
    """

    model: SparseAutoencoder
    other: SparseAutoencoder
    settings: Settings
    train: tuple[str, ...]
    test: tuple[str, ...]
    inputs: Tensor
    unseen: Tensor
    known: bool
    left_out: int


def judge(
    model: SparseAutoencoder,
    embeddings: Embeddings,
    settings: Settings,
    dataset: NeuralDataset | None = None,
    *,
    trained_on: Collection[str] | None = None,
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
        With it, latents are also compared with those of its subjects' brains and of their regions, and with the factors
        that its stimuli's table knows.
    trained_on : collection of str, optional
        Stimuli that it was trained on: it is judged on others. None where nobody knows; the report says so.
    trained_on : collection of str, optional
        Stimuli that it was trained on: it is judged on others. None where nobody knows; the report says so.
    candidates : Words, optional
        For names.
    others : mapping of str to Embeddings, optional
        Of the same stimuli by other models; an autoencoder of each is trained and its latents are paired.
    subjects : sequence of int, optional
        Whose brains are compared; None for all.
    sharing : inside_shared.Settings
    """
    train, test = parts(embeddings, settings.seed, dataset, trained_on)
    inputs, unseen = flat(embeddings, train), flat(embeddings, test)
    other = fitted(inputs, replace(settings, seed=settings.seed + 1)).model  # the same training part
    one = Judged(
        model,
        other,
        settings,
        train,
        test,
        inputs,
        unseen,
        trained_on is not None,
        len(embeddings.ids) - len(train) - len(test),
    )
    kept, found = (
        measures.measure(model, unseen),
        inside_meaning.retrieval_kept(model, unseen, inputs.mean(0)),
    )
    rows = _table(one, kept, found)
    brains = None if dataset is None else _of(dataset, subjects)
    shared = _shared(one, others or {}, brains, sharing)
    names = inside_names.named(model, embeddings, candidates, settings.seed)
    known: tuple[list[Panel], list[str]] = ([], [])
    if dataset is not None:
        known = inside_meaning.factor_panels(model, unseen, test, dataset, settings.seed)
    said = [
        *_kept_words(one, kept, found), inside_shared.words(shared), *known[1],
        *([names.words()] if names.found is not None else []),
    ]  # fmt: skip
    everything = flat(embeddings)
    panels: tuple[Panel, ...] = (
        ("What it keeps", "text", {"text": [f"- {line}" for line in said]}),
        ("Beside other dictionaries", "table", {"columns": COLUMNS, "rows": rows, "caption": CAPTION}),
        _histogram(kept),
        *inside_names.panels(names, embeddings, dictionary.frequencies(model, everything), dataset),
        *known[0],
        *inside_meaning.family_panels(model, everything, names, settings.seed),
        *inside_shared.panels(shared),
    )
    run = {
        "title": "A sparse autoencoder", "summary": f"{said[0]}.", "said": said, "settings": config.to_json(settings),
        "space": embeddings.space, "versions": versions(), "seed": settings.seed, "table": rows,
        "names": {str(i): name for i, name in names.certain.items()}, "shared": [pair.row() for pair in shared],
    }  # fmt: skip
    return Report((), run, panels)


def _kept_words(one: Judged, kept: Measures, found: Recovered) -> list[str]:
    """What it keeps, in sentences."""
    often = dictionary.frequencies(one.other, one.unseen)
    generator = seeding.torch_generator(one.settings.seed, "sae stability")
    share, chance = stability(one.model, one.other, frequency=often, generator=generator).at()
    seen = "it was not trained on" if one.known else "it may have been trained on (its folder does not say)"
    if one.left_out:
        seen += f" ({one.left_out} more of the test part it was trained on: left out)"
    return [
        f"of {len(one.unseen)} embeddings that {seen}, {kept.fvu:.3f} of the variance is left with "
        f"{kept.l0:.1f} latents each",
        f"{kept.dead:.1%} of {one.model.n_latents} latents are never active there, {kept.dense:.1%} in over a tenth",
        f"rebuilt, {found.rebuilt:.2f} of them find themselves among all (as they were {found.original:.2f}, the mean "
        f"in their place {found.mean:.3f})",
        f"{share:.0%} of its latents are found again from another seed (by chance {chance:.0%})",
    ]


def _table(one: Judged, kept: Measures, found: Recovered) -> list[list[Any]]:
    """A row for the autoencoder and each simpler dictionary."""
    rows = [["this autoencoder", one.model.n_latents, *_cells(kept, found)]]
    centre = one.inputs.mean(0)
    for name in BASELINES:
        simple = _baseline(name, one.inputs, one.settings, round(kept.l0))
        back = inside_meaning.retrieval_kept(simple, one.unseen, centre)
        rows.append([name, simple.n_latents, *_cells(measures.measure(simple, one.unseen), back)])
    return rows


def _cells(m: Measures, back: Recovered) -> list[str]:
    return [
        f"{m.fvu:.3f}", f"{m.l0:.1f}", f"{m.cosine:.3f}", f"{m.dead:.1%}", f"{m.dense:.1%}", f"{back.rebuilt:.2f}",
    ]  # fmt: skip


def _baseline(name: str, inputs: Tensor, settings: Settings, n_active: int) -> Dictionary:
    most = min(inputs.shape) if name in ("pca", "ica") else len(inputs)
    n = min(settings.n_latents, most)
    return baselines.fit(name, inputs, n, seed=settings.seed, n_active=min(max(1, n_active), n))


def _histogram(kept: Measures) -> Panel:
    edges, counts = kept.histogram()
    return ("How often latents are active", "curve", {
        "step": 10 ** ((edges[1:] + edges[:-1]) / 2).numpy(), "series": {"latents": counts.numpy()},
        "xlabel": "share of stimuli", "ylabel": "latents", "section": "scores",
    })  # fmt: skip


def _shared(
    one: Judged,
    others: Mapping[str, Embeddings],
    brains: NeuralDataset | None,
    sharing: inside_shared.Settings,
) -> list[Shared]:
    """Its latents beside those of another seed, of other models, and of brains."""
    sides = [inside_shared.of_embeddings("another seed", one.other, one.test, one.unseen)]
    sides += [_other_model(one, name, values) for name, values in others.items()]
    whole: list[Side] = []
    regions: dict[str, list[Side]] = {}
    if brains is not None:
        whole, regions = inside_shared.brains(brains, one.train, one.test, sharing)
    own = inside_shared.of_embeddings("this autoencoder", one.model, one.test, one.unseen)
    return inside_shared.shared(own, sides, whole, regions, sharing)


def _other_model(one: Judged, name: str, values: Embeddings) -> Side:
    """An autoencoder of another model's embeddings of the same training stimuli, and what it is shown."""
    made = fitted(flat(values, one.train), one.settings).model
    return inside_shared.of_embeddings(name, made, one.test, flat(values, one.test))


def _of(dataset: NeuralDataset, subjects: Sequence[int] | None) -> NeuralDataset:
    if subjects is None:
        return dataset
    known = sorted({trials.subject for trials in dataset.trials.values()})
    chosen = {checks.one_of("subject", subject, known) for subject in subjects}
    return dataset.select(keys=[key for key, trials in dataset.trials.items() if trials.subject in chosen])
