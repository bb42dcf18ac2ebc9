"""Diagnoses of dictionaries where the illness is planted: absorption, bits, circles, features that are quiet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, sparse
from braindec.evaluate import inside_worlds as worlds
from braindec.evaluate import study
from braindec.sparse import (
    absorption,
    circular,
    description,
    influence,
    losses,
    matching,
    measures,
    quasi_orthogonality,
)
from braindec.sparse.autoencoder import COUNTED
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.sparsity import fit_to_l0
from braindec.types import Report, Score

SUBJECT = "planted"
EMPHASIS = 3.0  # of the effect's gradient in the choice of latents
LR = 0.03  # of these small worlds: at 0.004 features are found after 600 steps, from here after 200
CIRCLE_DIMS = 12  # of the world with two circles, which take four
WITHIN = 0.5  # share of a planted plane that a group's plane must hold to be that circle's
LIMIT = (
    "In planted data the features that go together are known, each has one direction, and autoencoders have as many "
    "latents as there are features; nobody tells them that of a network. A parent's latent is taken to be one; in a "
    "network a factor may also be split. Bits are those of a code that tells latents one by one and the rest as a "
    "Gaussian: a better code may exist."
)


@dataclass(frozen=True)
class Settings:
    """Sizes of the planted worlds and of all autoencoders.

    Parameters
    ----------
    kinds : tuple of str
        Names of `KINDS`; the first is the one whose circles are looked for.
    n_samples, n_dims : int
        Half of the samples train, half judge.
    n_parents : int
        Families, half of them real; each has two children.
    n_steps : int
    n_null : int
        Refits of every null.
    n_embedded : int
        Latents of the autoencoder of embeddings.
    seed : int
    """

    kinds: tuple[str, ...] = ("TopK", "Matryoshka", "matching pursuit", "ReLU + L1", "Gated")
    n_samples: int = 6000
    n_dims: int = 16
    n_parents: int = 8
    n_steps: int = 600
    n_null: int = 3
    n_embedded: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in self.kinds:
            checks.one_of("kinds", kind, tuple(KINDS))
        checks.at_least("n_null", self.n_null, 1)


KINDS: Mapping[str, tuple[sparse.Config, losses.Config]] = {
    "TopK": (sparse.Config(1, "topk", 1), losses.Config()),
    "BatchTopK": (sparse.Config(1, "batch_topk", 1), losses.Config()),
    "Matryoshka": (sparse.Config(2, "batch_topk", 1, (1,)), losses.Config()),
    "matching pursuit": (sparse.Config(1, "matching_pursuit", 1), losses.Config()),
    "ReLU + L1": (sparse.Config(1, "relu"), losses.Config("l1", 0.1)),
    "JumpReLU": (sparse.Config(1, "jump_relu"), losses.Config("l0", 0.1)),
    "Gated": (sparse.Config(1, "gated"), losses.Config("l1", 0.3)),
}


def diagnosis_study(
    embeddings: Tensor, settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """What the diagnostics say where the truth is planted, and of a dictionary of embeddings (n, n_dims)."""
    kinds, rows, found = _kinds(settings, protocol)
    circles, drawn, planes = _circles(settings, protocol)
    quiet, line = _quiet(settings, protocol)
    inside = _inside(embeddings, settings)
    first = settings.kinds[0]
    said = [
        f"Parents with children of their own are absorbed to {rows[first]['absorbed']:.2f} by {first} "
        f"({rows[first]['null']:.2f} where the same children come anywhere); {rows[first]['l0']:.1f} latents active.",
        *kinds,
        *circles,
        line,
        inside,
    ]
    names = list(rows)
    panels: list[study.Panel] = [
        ("A parent's latent is silent because its children's write it", "regions", study.bars(
            names, {"children come with their parent": [rows[n]["absorbed"] for n in names],
                    "the same children anywhere": [rows[n]["null"] for n in names]},
            "share of the parent's part that others carry",
        )),
        ("How many bits a dictionary saves", "regions", study.bars(
            names, {"planted features": [rows[n]["saved"] for n in names],
                    "a Gaussian of the same covariance": [rows[n]["saved null"] for n in names]},
            "bits a sample less than a Gaussian's", chance=0.0,
        )),
        ("All kinds at about the same number of active latents", "table", _table(rows)),
        ("Groups of latents and their planes", "table", planes),
    ]  # fmt: skip
    return study.report("Diagnoses of dictionaries", said, [*found, *drawn, *quiet], panels, LIMIT)


# ------------------------------------------------------------------------------------------------- kinds compared


def _fitted(
    kind: str, values: Tensor, n_latents: int, n_active: int, settings: Settings, *, seed: int, weight: float = 0.0
) -> tuple[Dictionary, float]:  # fmt: skip
    """An autoencoder of a kind and the weight of its penalty; without a weight the one that makes it so sparse."""
    shape, loss = KINDS[kind]
    prefixes = (n_latents // 2,) if shape.prefixes else ()
    config = replace(shape, n_latents=n_latents, n_active=n_active, prefixes=prefixes)
    told = _training(settings, replace(loss, sparsity_weight=weight or loss.sparsity_weight), len(values))
    if config.activation in COUNTED or weight:
        return sparse.fit(values, config, told, seed=seed, progress=False).model, weight
    fitted, used = fit_to_l0(values, config, told, n_active, seed=seed, progress=False)
    return fitted.model, used


def _training(settings: Settings, loss: losses.Config, n: int) -> sparse.FitConfig:
    batch = min(128, n)
    return sparse.FitConfig(
        n_steps=settings.n_steps,
        batch_size=batch,
        lr=LR,
        dead_after=12 * batch,
        decay_fraction=0.4,
        loss=loss,
    )


def _kinds(settings: Settings, protocol: str) -> tuple[list[str], dict[str, dict[str, float]], list[Score]]:
    """Absorption and length of description of every kind, in words, by kind and as scores."""
    world = worlds.families(settings.n_samples, settings.n_dims, settings.n_parents, settings.seed)
    rows: dict[str, dict[str, float]] = {}
    found: list[Score] = []
    for kind in settings.kinds:
        rows[kind], scores = _judged(kind, world, settings, protocol)
        found += scores
    return _lines(rows), rows, found


def _judged(
    kind: str, world: worlds.Planted, settings: Settings, protocol: str
) -> tuple[dict[str, float], list[Score]]:
    """Numbers and scores of one kind, beside refits without families and without sparsity."""
    n, first = settings.n_samples // 2, settings.n_parents // 2
    train, test, present = world.values[:n], world.values[n:], world.present[n:]
    size = len(world.atoms), round(float(world.present.double().sum(1).mean()))
    model, weight = _fitted(kind, train, *size, settings, seed=settings.seed)
    apart, plain = [], []
    for i in range(settings.n_null):
        seed = seeding.derive(settings.seed, "free", i)
        free = worlds.families(settings.n_samples, settings.n_dims, settings.n_parents, seed, kept=False)
        again, _ = _fitted(kind, free.values[:n], *size, settings, seed=i + 1, weight=weight)
        apart.append(_absorbed(again, free.atoms[:first], free.values[n:], free.present[n:, :first]))
        again, _ = _fitted(kind, worlds.gaussian(train, 2 * i), *size, settings, seed=i + 1, weight=weight)
        plain.append(description.describe(again, worlds.gaussian(test, 2 * i + 1)).saved)

    def absorbed(values: Tensor, there: Tensor) -> float:
        return _absorbed(model, world.atoms[:first], values, there)

    def saved(values: Tensor) -> float:
        return description.describe(model, values).saved

    value, bits, kept = (
        absorbed(test, present[:, :first]),
        description.describe(model, test),
        measures.measure(model, test),
    )
    ends = study.jackknife(absorbed, test, present[:, :first], seed=settings.seed)
    found, spelled = (
        matching.recovery(world.atoms, model.atoms),
        kind.replace(" + ", "_").replace(" ", "_").lower(),
    )
    scores = study.scores(
        f"absorbed_{spelled}", value, ends, apart, len(test), subject=SUBJECT, protocol=protocol,
        fvu=kept.fvu, l0=kept.l0, found=found,
    )  # fmt: skip
    scores += study.scores(
        f"bits_saved_{spelled}", bits.saved, study.jackknife(saved, test, seed=settings.seed), plain, len(test),
        subject=SUBJECT, protocol=protocol, total=bits.total,
    )  # fmt: skip
    generator = seeding.torch_generator(settings.seed, "coherence")
    near = quasi_orthogonality.coherence(model.atoms.detach(), generator=generator)
    return {
        "absorbed": value, "null": float(np.mean(apart)), "saved": bits.saved, "saved null": float(np.mean(plain)),
        "total": bits.total, "fvu": kept.fvu, "l0": kept.l0, "found": found, "largest": near.largest,
        "welch": near.welch, "random": float(near.random.mean()), "number": _agreement(model, test, present),
    }, scores  # fmt: skip


def _absorbed(model: Dictionary, atoms: Tensor, values: Tensor, there: Tensor) -> float:
    """Mean absorbed fraction of parents whose atoms are known."""
    return float(absorption.absorption(model, values, there, atoms, n_main=1).fraction.nanmean())


def _agreement(model: Dictionary, values: Tensor, present: Tensor) -> float:
    """Correlation over samples of how many features are there with how many the length of the sample asks for."""
    needed = quasi_orthogonality.n_needed(model, values).double()
    pair = torch.stack([needed, present.double().sum(1)])
    return float(torch.corrcoef(pair)[0, 1]) if float(needed.std()) > 0 else 0.0


def _lines(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    short = min(rows, key=lambda k: rows[k]["total"])
    least = min(rows, key=lambda k: rows[k]["absorbed"])
    one = rows[short]
    return [
        f"{short} tells a sample shortest, in {one['total']:.1f} bits, {one['saved']:.1f} fewer than a Gaussian "
        f"({one['saved null']:.1f} where the data are one); {least} absorbs least ({rows[least]['absorbed']:.2f}).",
        f"Its atoms have cosines up to {one['largest']:.2f} (random directions {one['random']:.2f}, no set below "
        f"{one['welch']:.2f}). How many features a sample has goes with how many its length asks for with r "
        f"{one['number']:.2f}.",
    ]


def _table(rows: Mapping[str, Mapping[str, float]]) -> dict:
    cells = [
        [kind, f"{r['l0']:.1f}", f"{r['fvu']:.3f}", f"{r['found']:.3f}", f"{r['absorbed']:.2f} ({r['null']:.2f})",
         f"{r['total']:.1f}", f"{r['saved']:.1f} ({r['saved null']:.1f})", f"{r['largest']:.2f}", f"{r['number']:.2f}"]
        for kind, r in rows.items()
    ]  # fmt: skip
    return {
        "columns": ["dictionary", "active (L0)", "variance left (fvu)", "features found", "absorbed (null)",
                    "bits a sample", "bits saved (null)", "largest cosine", "number told by length, r"],
        "rows": cells,
        "caption": "Held-out samples. In brackets: children anywhere; a Gaussian of the same covariance. Refitted.",
    }  # fmt: skip


# -------------------------------------------------------------------------------------------------------- circles


def _circles(settings: Settings, protocol: str) -> tuple[list[str], list[Score], dict]:
    """Whether groups of latents are the planted circles, beside groups of as many latents drawn at random."""
    n = settings.n_samples
    world, planes = worlds.circles(n, CIRCLE_DIMS, 2, CIRCLE_DIMS // 3, settings.seed)
    train, test = world.values[: n // 2], world.values[n // 2 :]
    model, _ = _fitted(settings.kinds[0], train, CIRCLE_DIMS + 4, 2, settings, seed=settings.seed)
    generator = seeding.torch_generator(settings.seed, "planes")
    of = circular.crowded(model.atoms.detach())

    def told(values: Tensor, members: Sequence[tuple[int, ...]] = of) -> float:
        drawn = circular.planes(model, values, members, generator=generator, least=20)
        best = [0.0] * len(planes)
        for one in drawn:
            for i, plane in enumerate(planes):
                if _inside_plane(model.atoms[list(one.latents)], plane) >= WITHIN:
                    best[i] = max(best[i], one.irreducible)
        return float(np.mean(best))

    nulls = []
    for _ in range(max(9, settings.n_null)):
        order = torch.randperm(model.n_latents, generator=generator).tolist()
        drawn = circular.planes(model, test, _dealt(order, of), generator=generator, least=20)
        nulls.append(float(np.mean([one.irreducible for one in drawn])) if drawn else 0.0)
    value = told(test)
    ends = study.jackknife(told, test, seed=settings.seed)
    drawn = circular.planes(model, test, of, generator=generator, least=20)
    cells = [
        [", ".join(map(str, p.latents)), f"{p.separability:.2f}", f"{p.mixture:.2f}", f"{p.irreducible:.2f}",
         " / ".join(f"{_inside_plane(model.atoms[list(p.latents)], q):.2f}" for q in planes)]
        for p in drawn
    ]  # fmt: skip
    table = {
        "columns": ["latents", "separability (bits)", "mixture", "irreducible", "share within each planted plane"],
        "rows": cells, "caption": f"Groups of as many latents at random: irreducible {np.mean(nulls):.2f}.",
    }  # fmt: skip
    said = [
        f"Groups of latents whose atoms lie in one plane hold the planted circles: irreducible {value:.2f}, groups "
        f"of as many latents at random {np.mean(nulls):.2f}.",
    ]
    scores = study.scores(
        "circle_irreducible",
        value,
        ends,
        nulls,
        len(test),
        subject=SUBJECT,
        protocol=protocol,
        n_groups=len(of),
    )
    return said, scores, table


def _inside_plane(atoms: Tensor, plane: Tensor) -> float:
    """Share of the atoms' squared length that lies in a plane (2, n_dims)."""
    return float((atoms.detach() @ plane.T).square().sum() / atoms.detach().square().sum())


def _dealt(order: list[int], sizes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The order cut into groups of these sizes, as far as it goes."""
    ends = np.cumsum([0, *map(len, sizes)])
    return [tuple(order[a:b]) for a, b in itertools.pairwise(ends.tolist()) if b <= len(order)]


# ------------------------------------------------------------------------------------------------- quiet features


def _quiet(settings: Settings, protocol: str) -> tuple[list[Score], str]:
    """What a code of two latents keeps of an effect that feels quiet features alone, chosen with its gradient."""
    n, d = settings.n_samples, settings.n_dims
    world = worlds.loud_and_quiet(n, d, d - d // 4, d // 4, settings.seed)
    train, test, n_loud = world.values[: n // 2], world.values[n // 2 :], d - d // 4
    readers = torch.linalg.pinv(world.atoms).T
    effect = worlds.asks_for(readers[n_loud:])
    kind = sparse.Config(d, "gradient_topk", 2, emphasis=EMPHASIS)
    known = sparse.SparseAutoencoder(d, kind).eval()
    with torch.no_grad():
        known.atoms.copy_(world.atoms)
        known.encoder.copy_(readers)
    slopes = influence.gradients(effect, test)
    generator = seeding.torch_generator(settings.seed, "slopes")

    @torch.no_grad()
    def kept(values: Tensor, given: Tensor | None) -> float:
        said, told = effect(known.decode(known.encode(values, given))), effect(values)
        return 1 - float((said - told).square().mean() / told.var(correction=0))

    value, plain = kept(test, slopes), kept(test, None)
    nulls = [kept(test, slopes[torch.randperm(len(test), generator=generator)]) for _ in range(19)]
    ends = study.jackknife(kept, test, slopes, seed=settings.seed)
    told = _training(settings, losses.Config(), len(train))
    found = {
        name: matching.recovery(
            world.atoms[n_loud:],
            sparse.fit(train, config, told, seed=settings.seed, progress=False, effect=asked).model.atoms,
        )
        for name, config, asked in (
            ("gradient", kind, effect),
            ("topk", replace(kind, activation="topk"), None),
        )
    }
    scores = study.scores(
        "effect_kept_gradient_topk", value, ends, nulls, len(test), subject=SUBJECT, protocol=protocol, topk=plain,
        quiet_found=found["gradient"], quiet_found_topk=found["topk"],
    )  # fmt: skip
    return scores, (
        f"An effect that feels features {worlds.QUIET:.1f} times as loud keeps {value:.2f} of its variance in codes of "
        f"two known latents chosen with its gradient, {plain:.2f} chosen without and {np.mean(nulls):.2f} with another "
        f"sample's. Trained so, the quiet features are found with a cosine of {found['gradient']:.2f} (TopK "
        f"{found['topk']:.2f})."
    )


# ----------------------------------------------------------------------------------------------------- embeddings


def _inside(embeddings: Tensor, settings: Settings) -> str:
    """Length of description, cosines and planes of an autoencoder of embeddings, in words."""
    x = torch.nn.functional.normalize(embeddings, dim=1)
    x = x[torch.randperm(len(x), generator=seeding.torch_generator(settings.seed, "embedded"))]
    train, test = x[: len(x) // 2], x[len(x) // 2 :]
    model, _ = _fitted(settings.kinds[0], train, settings.n_embedded, 6, settings, seed=settings.seed)
    bits = description.describe(model, test)
    generator = seeding.torch_generator(settings.seed, "embedded planes")
    near = quasi_orthogonality.coherence(model.atoms.detach(), generator=generator)
    drawn = circular.planes(model, test, circular.crowded(model.atoms.detach()), generator=generator)
    best = max((p.irreducible for p in drawn), default=0.0)
    return (
        f"Of a network's embeddings ({len(test)} held out) a dictionary of {model.n_latents} saves {bits.saved:.1f} of "
        f"{bits.plain:.1f} bits, {bits.parameters:.1f} of them for itself; cosines up to {near.largest:.2f} (random "
        f"{float(near.random.mean()):.2f}); the least reducible of {len(drawn)} planes has {best:.2f}."
    )
