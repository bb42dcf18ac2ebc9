"""Sparse autoencoders of every kind on data whose factors are known, and on embeddings of scenes whose words are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, sparse
from braindec.data.simulated import scenes
from braindec.evaluate import study
from braindec.sparse import (
    baselines,
    dictionary,
    families,
    latents,
    losses,
    matching,
    measures,
    monosemanticity,
)
from braindec.sparse import shared as drawn_together
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.stability import stability
from braindec.stats.intervals import t_interval
from braindec.types import Report

KINDS = ("background", "pattern", "shape", "colour")  # factors of a scene that the planted data are made of
NOISE = 0.03  # SD of the planted data's noise; a factor's part has length 1.5 to 4.5
BASELINES = ("pca", "ica", "kmeans", "random")
LIMIT = (
    "Factors of the planted data go into their mixture linearly and are as often there as in these scenes, and the two "
    "TopK kinds are told how many are there; nobody tells them that of a network. Scenes are far simpler than "
    "photographs, and a latent that tells a factor may tell what goes with it."
)


@dataclass(frozen=True)
class Settings:
    """Sizes of the planted data and of all autoencoders.

    Parameters
    ----------
    n_scenes, n_dims : int
        Planted: scenes, of which a fifth judges, and the dims that 25 factors are mixed into.
    n_steps : int
    n_latents, n_active : int
        Of the autoencoder of embeddings.
    n_null : int
        Draws of every null.
    seed : int
    """

    n_scenes: int = 10000
    n_dims: int = 16
    n_steps: int = 1500
    n_latents: int = 128
    n_active: int = 8
    n_null: int = 19
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Planted:
    """Data (n, n_dims) that are few of these atoms (n_factors, n_dims) each, and what was present (n, n_factors)."""

    values: Tensor
    atoms: Tensor
    present: Tensor
    names: tuple[str, ...]


def planted(settings: Settings) -> Planted:
    """Factors of drawn scenes, each with a strength of its own, mixed by random unit atoms."""
    rng = seeding.numpy_generator(settings.seed, "planted factors")
    design, words = scenes.factor_features(scenes.sample_scenes(settings.n_scenes, rng))
    kept = [i for i, w in enumerate(words) if "&" not in w and w.partition("=")[0] in KINDS]
    strength = torch.from_numpy(design[:, kept])
    generator = seeding.torch_generator(settings.seed, "planted atoms")
    atoms = torch.nn.functional.normalize(torch.randn(len(kept), settings.n_dims, generator=generator), dim=1)
    code = strength * (0.5 + torch.rand(strength.shape, generator=generator))
    noise = NOISE * torch.randn(len(code), settings.n_dims, generator=generator)
    return Planted(3 * code @ atoms + noise, atoms, strength > 0, tuple(words[i] for i in kept))


def kinds(n_latents: int, n_active: int) -> dict[str, tuple[sparse.Config, losses.Config]]:
    """Every kind of autoencoder of one width."""
    l1, l0, none = losses.Config("l1", 0.1), losses.Config("l0", 0.1), losses.Config()
    nested = (n_latents // 4, n_latents // 2)
    return {
        "TopK": (sparse.Config(n_latents, "topk", n_active), none),
        "BatchTopK": (sparse.Config(n_latents, "batch_topk", n_active), none),
        "Matryoshka": (sparse.Config(n_latents, "batch_topk", n_active, nested), none),
        "JumpReLU": (sparse.Config(n_latents, "jump_relu"), l0),
        "ReLU + L1": (sparse.Config(n_latents, "relu"), l1),
    }


def _training(settings: Settings, loss: losses.Config, n: int) -> sparse.FitConfig:
    batch = min(256, n)
    return sparse.FitConfig(
        n_steps=settings.n_steps, batch_size=batch, lr=4e-3, dead_after=12 * batch, loss=loss
    )


def factor_study(
    embeddings: Tensor, factors: Mapping[str, np.ndarray], texts: Tensor, settings: Settings = Settings(), *,
    protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """What each kind of autoencoder finds of known factors, planted and in embeddings.

    Parameters
    ----------
    embeddings : Tensor, shape (n, dim)
        Of scenes.
    factors : mapping of str to bool array, shape (n,)
        What is in each scene, by word.
    texts : Tensor, shape (n_factors, dim)
        Embeddings of these words by the same model, for naming.
    settings : Settings
    protocol : str
    """
    checks.same_length("factor", factors=list(factors), texts=texts)
    made = planted(settings)
    rows, found, mutual = _planted_rows(made, settings, protocol)
    inside = _inside(embeddings, factors, texts, settings)
    best = max((r for r in rows if r not in BASELINES), key=lambda r: rows[r]["mcc"])
    said = [
        f"Of {len(made.names)} factors mixed into {settings.n_dims} dims, {best} finds the directions best: mean "
        f"cosine {rows[best]['mcc']:.3f} (PCA {rows['pca']['mcc']:.3f}, ICA {rows['ica']['mcc']:.3f}, k-means "
        f"{rows['kmeans']['mcc']:.3f}, random directions {rows['random']['mcc']:.3f}).",
        *mutual,
        *inside[1],
    ]
    names = list(rows)
    panels: list[study.Panel] = [
        ("Planted factors found again", "regions", study.bars(
            names, {"mean cosine with its factor": [rows[n]["mcc"] for n in names]}, "mean cosine",
            chance=rows["random"]["mcc"],
        )),
        ("What each keeps, and how sparsely", "table", _table(rows)),
        *inside[0],
    ]  # fmt: skip
    return study.report("Known factors in sparse autoencoders", said, [*found, *inside[2]], panels, LIMIT)


def _planted_rows(made: Planted, settings: Settings, protocol: str):
    """Numbers of every dictionary on the planted data, their scores, and what drawing together adds."""
    n_train = round(0.8 * len(made.values))
    train, unseen = made.values[:n_train], made.values[n_train:]
    n, active = len(made.atoms), round(float(made.present.float().sum(1).mean()))
    models: dict[str, Dictionary] = {}
    for name, (kind, loss) in kinds(n, active).items():
        told = _training(settings, loss, n_train)
        models[name] = sparse.fit(train, kind, told, seed=settings.seed, progress=False).model.eval()
    together, lines = _together(train, kinds(n, active)["TopK"][0], made, settings)
    models["TopK, drawn together"] = together
    for name in BASELINES:
        width = min(n, settings.n_dims) if name in ("pca", "ica") else n
        models[name] = baselines.fit(name, train, width, seed=settings.seed, n_active=min(active, width))
    nulls = np.array([_chance(made.atoms, settings, i) for i in range(settings.n_null)])
    rows, found = {}, []
    for name, model in models.items():
        kept = measures.measure(model, unseen)
        pairs = matching.match(matching.cosines(made.atoms, model.atoms))
        each = torch.zeros(n).index_put((pairs.first,), pairs.similarity).numpy()
        rows[name] = {"mcc": float(each.mean()), "fvu": kept.fvu, "l0": kept.l0, "dead": kept.dead}
        if name not in BASELINES:
            half = 2.06 * each.std(ddof=1) / n**0.5  # t of 24 factors
            found += study.scores(
                f"factors_found_{name.replace(' + ', '_').replace(', ', '_').replace(' ', '_').lower()}",
                each.mean(), (each.mean() - half, each.mean() + half), nulls, n, chance=float(nulls.mean()),
                subject="planted", protocol=protocol,
                fvu=kept.fvu, l0=kept.l0, dead=kept.dead,
            )  # fmt: skip
    return rows, found, lines


def _chance(atoms: Tensor, settings: Settings, draw: int) -> float:
    """What unit atoms that know nothing reach, turned at random."""
    generator = seeding.torch_generator(settings.seed, "factors chance", draw)
    other = torch.randn(atoms.shape, generator=generator)
    return matching.recovery(atoms, other)


def _together(train: Tensor, kind: sparse.Config, made: Planted, settings: Settings):
    """Two autoencoders drawn together, and whether those of another call agree more with them than without."""
    told = _training(settings, losses.Config(), len(train))
    sizes = [kind, kind]
    out, lines = [], []
    for weight in (0.0, 0.3):
        mutual = drawn_together.Config(weight=weight)
        pairs = [
            drawn_together.fit(train, sizes, told, mutual, seed=settings.seed + call, progress=False)
            for call in (0, 1)
        ]
        a, b = (found[0].model.eval() for found in pairs)
        often = dictionary.frequencies(b, train)
        agreed = stability(
            a, b, frequency=often, generator=seeding.torch_generator(settings.seed, "drawn"), n_draws=3
        )
        lines.append(
            f"{'Drawn together' if weight else 'Trained apart'}, TopK autoencoders of two calls agree on atoms with a "
            f"cosine of {float(agreed.mcc.value):.3f}, and with the factors of "
            f"{matching.recovery(made.atoms, a.atoms):.3f}."
        )
        out.append(a)
    return out[1], lines


def _table(rows: Mapping[str, Mapping[str, float]]) -> dict:
    cells = [
        [name, f"{r['mcc']:.3f}", f"{r['fvu']:.3f}", f"{r['l0']:.1f}", f"{r['dead']:.0%}"]
        for name, r in rows.items()
    ]
    return {
        "columns": ["dictionary", "factors found", "variance left (fvu)", "active (L0)", "dead"], "rows": cells,
        "caption": "Mean cosine of each factor with its partner; factors without one count 0. On held-out data.",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------ embeddings of scenes


def _inside(embeddings: Tensor, factors: Mapping[str, np.ndarray], texts: Tensor, settings: Settings):
    """Panels, words and scores of an autoencoder of embeddings."""
    words = list(factors)
    present = torch.from_numpy(np.stack([factors[w] for w in words], 1)).bool()
    order = torch.randperm(len(embeddings), generator=seeding.torch_generator(settings.seed, "factor parts"))
    train, test = order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]
    usable = present[test].any(0) & ~present[test].all(0)
    kept = [w for w, ok in zip(words, usable.tolist()) if ok]
    present, texts = present[:, usable], texts[usable]
    x = torch.nn.functional.normalize(embeddings, dim=1)
    generator = seeding.torch_generator(settings.seed, "factors inside")
    models: dict[str, Dictionary] = {}
    for name, (kind, loss) in kinds(settings.n_latents, settings.n_active).items():
        told = _training(settings, loss, len(train))
        models[name] = sparse.fit(x[train], kind, told, seed=settings.seed, progress=False).model.eval()
    for name in BASELINES:
        width = min(settings.n_latents, x.shape[1], len(train))
        models[name] = baselines.fit(name, x[train], width, seed=settings.seed, n_active=settings.n_active)
    covered = {}
    for name, model in models.items():
        codes = torch.cat([code.dense() for _, code in dictionary.coded(model, x[test])])
        covered[name] = monosemanticity.against_factors(
            codes, present[test], generator=generator, n_draws=settings.n_null
        )
    chosen = "Matryoshka"
    one, found = models[chosen], covered[chosen]
    top = latents.top_stimuli(one, x[train])
    named = latents.name_by_stimuli(top, x[train], texts, kept, generator=generator, n_words=1, n_draws=199)
    certain = torch.nonzero(found.p <= 0.05).squeeze(1)
    right = np.array([named.words[i][0] == kept[int(found.best[i])] for i in certain.tolist()], dtype=float)
    by_chance = 1 / len(kept)
    active = torch.cat([code.dense() for _, code in dictionary.coded(one, x)]) != 0
    trees = families.families(active, generator=generator, n_draws=settings.n_null)
    steered, rows, others = _steer(one, x[test], present[test], found, kept, settings)
    naming = [
        f"Named by the words nearest to their pictures, {right.mean():.2f} of these get the word of the factor that "
        f"they tell (chance {by_chance:.2f})."
    ] if len(certain) else []  # fmt: skip
    said = [
        f"In embeddings, {len(certain)} of {one.n_latents} latents tell a factor (p <= 0.05, corrected over all"
        + (f"; mean area {float(found.best_auc[certain].mean()):.2f}" if len(certain) else "")
        + f"); a latent that knows nothing reaches {found.null:.2f}.",
        *naming,
        *steered,
    ]  # fmt: skip
    names = list(covered)
    panels: list[study.Panel] = [
        ("Factors that some latent of the embedding tells", "regions", study.bars(
            names, {"best latent, mean over factors": [float(covered[n].auc.amax(0).mean()) for n in names]},
            "area under the ROC", chance=0.5,
        )),
        ("Steering: a latent is switched on, scenes are looked up", "regions", study.bars(
            [r[0] for r in rows],
            {"its latent on": [r[2] for r in rows], "another latent on": [r[3] for r in rows],
             "as it was": [r[1] for r in rows]},
            "share of the ten nearest scenes that have it",
        )),
        ("Families of latents", "table", _trees(trees, named, found, kept)),
    ]  # fmt: skip
    on = np.array([r[2] for r in rows])
    ends = t_interval(float(on.mean()), float(on.std(ddof=1) / len(on) ** 0.5), len(on))
    scores = study.scores(
        "steered_scenes_with_factor", on.mean(), (max(0.0, ends.low), min(1.0, ends.high)), others, len(on),
        chance=float(np.mean([r[1] for r in rows])), subject="embedding", protocol="heldout_stimuli",
    )  # fmt: skip
    return panels, said, scores


def _steer(model: Dictionary, x: Tensor, present: Tensor, found, kept: Sequence[str], settings: Settings):
    """For the factors that latents tell best: share of the nearest scenes with it, before and after.

    And means over these factors where another latent is on in the place of each, (n_null,).
    """
    codes = torch.cat([code.dense() for _, code in dictionary.coded(model, x)])
    generator = seeding.torch_generator(settings.seed, "steer")
    best = found.auc.max(0)
    rows, drawn = [], []
    for factor in best.values.argsort(descending=True)[:8].tolist():
        latent = int(best.indices[factor])
        without = ~present[:, factor]
        loud = 2 * float(codes[:, latent].max())
        others = torch.randint(model.n_latents - 1, (settings.n_null,), generator=generator)
        others += others >= latent  # any but its own
        on, *again = (
            _with(
                latents.steer(model, x[without], {i: loud}, how="set", keep_norm=True), x, present[:, factor]
            )
            for i in (latent, *others.tolist())
        )
        rows.append((kept[factor], _with(x[without], x, present[:, factor]), on, float(np.mean(again))))
        drawn.append(again)
    on, off, other_on = (float(np.mean([r[k] for r in rows])) for k in (2, 1, 3))
    said = (
        f"Scenes without a factor, its latent switched on: {on:.2f} of the ten nearest scenes have it (before "
        f"{off:.2f}, another latent on {other_on:.2f}; {len(rows)} factors)."
    )
    return [said], rows, np.mean(drawn, 0)


def _with(queries: Tensor, gallery: Tensor, has: Tensor) -> float:
    """Share of the ten nearest scenes of each query that have a factor."""
    centre = gallery.mean(0)
    near = matching.cosines(queries - centre, gallery - centre).topk(min(10, len(gallery)), dim=1).indices
    return float(has[near].double().mean())


def _trees(trees: families.Families, named: latents.Names, found, kept: Sequence[str]) -> dict:
    rows = []
    for root, members in list(trees.members().items())[:6]:
        below = [i for i in members if i != root]
        words = ", ".join(dict.fromkeys(kept[int(found.best[i])] for i in below[:6]))
        rows.append([named.words[root][0], kept[int(found.best[root])], len(below), words])
    return {
        "columns": ["root's name", "factor it tells best", "latents below it", "factors these tell"], "rows": rows,
        "caption": f"The largest trees of latents that are active together (phi above {trees.threshold:.2f}).",
    }  # fmt: skip
