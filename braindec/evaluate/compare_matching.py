"""Whether two networks or trainings have the same units: matched one to one, one to few, in groups, as latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from braindec import checks, registry, seeding, sparse
from braindec.evaluate import study
from braindec.similarity import Measure
from braindec.sparse import dictionary, matching
from braindec.sparse.stability import stability
from braindec.sparse.universality import universality
from braindec.types import Report

MEASURES = {
    "one_to_one": ("units", "one_to_one"),
    "nearest_unit": ("units", "nearest_unit"),
    "one_to_many": ("units", "one_to_many"),
    "many_to_many": ("units", "many_to_many"),
    "universality": ("units", "universality"),
    "svcca": ("cca", "svcca"),
}
LIMIT = (
    "Few hundred small pictures and two small networks: how many units larger networks share is not measured here. A "
    "unit that correlates with another one need not do the same, and a rotated space keeps everything but its units, "
    "so only what lies above the rotated null speaks of units rather than of geometry."
)


@dataclass(frozen=True)
class Settings:
    """Nulls, and the autoencoders whose latents are matched.

    Parameters
    ----------
    n_null : int
        Permutations and rotations behind each number.
    n_latents, n_active, n_steps : int
    seed : int
    """

    n_null: int = 19
    n_latents: int = 64
    n_active: int = 8
    n_steps: int = 1500
    seed: int = 0


def matching_study(
    spaces: dict[str, Tensor], settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Units and latents of two networks over the same stimuli.

    Parameters
    ----------
    spaces : dict of str to Tensor, shape (n, n_units)
        The first two are compared in every way; further ones (networks before training) are controls of the first.
    settings : Settings
    protocol : str
    """
    checks.at_least("number of networks", len(spaces), 2)
    names = list(spaces)
    first, second = spaces[names[0]], spaces[names[1]]
    rows = {name: _measured(name, first, second, settings) for name in MEASURES}
    found = [s for name, r in rows.items() for s in _scores(name, r, len(first), protocol)]
    pairs = {f"with {n}": _measured("one_to_one", first, spaces[n], settings) for n in names[1:]}
    pairs = {
        "with itself, units permuted": _measured("one_to_one", first, _hidden(first, settings), settings)
    } | pairs
    latents, share, told = _latents(first, second, settings)
    one = rows["one_to_one"]
    said = [
        f"Units of {names[0]} matched one to one with {names[1]} on half of {len(first)} stimuli correlate with "
        f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}] on the other half; stimuli permuted "
        f"{float(one['permuted'].mean()):.2f}, the other network's space rotated {float(one['rotated'].mean()):.2f}.",
        *told,
    ]
    panels: list[study.Panel] = [
        (
            "Units of two networks, six ways",
            "regions",
            _bars(rows, "correlation (SVCCA: mean over directions)"),
        ),
        ("Which networks share units", "regions", _bars(pairs, "correlation of units matched one to one")),
        ("Latents found again from another seed", "curve", share),
        ("Latents of sparse autoencoders", "regions", latents),
    ]
    return study.report(
        "Do two networks have the same units?", said, found, panels, LIMIT, stimuli=len(first)
    )


def _measure(name: str) -> Measure:
    module, key = MEASURES[name]
    found: Measure = registry.load("similarity", module).MEASURES[key]
    return found


def _measured(name: str, x: Tensor, y: Tensor, settings: Settings) -> dict[str, Any]:
    """Value, interval and both nulls of one measure."""
    chosen = _measure(name)
    generator = seeding.torch_generator(settings.seed, "matching", name)
    low, high = study.jackknife(chosen, x, y, seed=settings.seed)
    permuted = torch.stack(
        [chosen(x, y[torch.randperm(len(y), generator=generator)]) for _ in range(settings.n_null)]
    )
    turned = torch.stack(
        [chosen(x, y @ matching.rotation(y.shape[1], generator).to(y)) for _ in range(settings.n_null)]
    )
    return {"value": float(chosen(x, y)), "low": low, "high": high, "permuted": permuted, "rotated": turned}


def _scores(name: str, row: dict, n: int, protocol: str) -> list:
    return study.scores(
        f"units_{name}", row["value"], (row["low"], row["high"]), row["permuted"], n, protocol=protocol,
        subject="networks", rotated=float(row["rotated"].mean()),
    )  # fmt: skip


def _hidden(x: Tensor, settings: Settings) -> Tensor:
    """The same units in another order, on other scales: what matching must find."""
    generator = seeding.torch_generator(settings.seed, "matching", "hidden")
    scale = torch.rand(x.shape[1], generator=generator) + 0.5
    return (x * scale)[:, torch.randperm(x.shape[1], generator=generator)]


def _bars(rows: dict, xlabel: str) -> dict:
    series = {
        "as they are": [r["value"] for r in rows.values()],
        "space rotated": [float(r["rotated"].mean()) for r in rows.values()],
        "stimuli permuted": [float(r["permuted"].mean()) for r in rows.values()],
    }
    limits = {"as they are": [(r["low"], r["high"]) for r in rows.values()]}
    return study.bars([r.replace("_", " ") for r in rows], series, xlabel, intervals=limits)


def _latents(first: Tensor, second: Tensor, settings: Settings):
    """Latents of autoencoders of both networks and of another seed: panels and words."""
    inputs = [x - x.mean(0) for x in (first, second)]
    inputs = [x / x.std() for x in inputs]
    a, other_seed, other = (
        _trained(x, settings, seed) for x, seed in ((inputs[0], 0), (inputs[0], 1), (inputs[1], 0))
    )
    generator = seeding.torch_generator(settings.seed, "matching", "latents")
    often = dictionary.frequencies(other_seed, inputs[0])
    kept = stability(a, other_seed, frequency=often, generator=generator, n_draws=settings.n_null)
    share, chance = kept.at()
    curve = study.lines(
        kept.thresholds.numpy(),
        {
            "another seed": kept.shared.value.numpy(),
            "rotated": kept.shared.nulls["rotated"].mean(0).numpy(),
            "partners exchanged, equally frequent": kept.shared.nulls["shuffled"].mean(0).numpy(),
        },
        "cosine of encoder and of decoder, at least",
        "share of latents",
    )
    rows = {}
    for name, model, x in (("another seed", other_seed, inputs[0]), ("another network", other, inputs[1])):
        turned = [_codes(matching.rotated(model, generator), x) for _ in range(settings.n_null)]
        rows[name] = universality(
            _codes(a, inputs[0]),
            _codes(model, x),
            generator=generator,
            n_draws=settings.n_null,
            rotated=turned,
        )
    pairs = rows["another network"].pairs
    svcca = _measure("svcca").compare(
        a.atoms.detach()[pairs.first], other.atoms.detach()[pairs.second], settings.n_null, generator
    )
    series = {"as they are": [float(u.mean.value) for u in rows.values()]} | {
        label: [float(u.mean.nulls[key].mean()) for u in rows.values()]
        for label, key in (
            ("rotated", "rotated"),
            ("equally frequent", "shuffled"),
            ("stimuli permuted", "permuted"),
        )
    }
    said = [
        f"{share:.0%} of {kept.n_pairs} latents are found again from another seed (cosine 0.7 in encoder and "
        f"decoder; chance {chance:.0%}); atoms paired one to one have a cosine of {float(kept.mcc.value):.2f} (rotated "
        f"{float(kept.mcc.nulls['rotated'].mean()):.2f}).",
        f"Latents of the two networks, paired by activation, correlate with {series['as they are'][1]:.2f} (stimuli "
        f"permuted {series['stimuli permuted'][1]:.2f}, equally frequent partners {series['equally frequent'][1]:.2f}, "
        f"rotated {series['rotated'][1]:.2f}); SVCCA of the atoms of {len(pairs.first)} pairs {svcca.value:.2f} "
        f"(pairs permuted {float(svcca.nulls.mean()):.2f}, p {svcca.p:.3f}).",
    ]
    return study.bars(list(rows), series, "mean correlation of paired latents"), curve, said


def _codes(model: sparse.SparseAutoencoder, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.encode(x).dense()


def _trained(x: Tensor, settings: Settings, seed: int) -> sparse.SparseAutoencoder:
    batch = min(256, len(x))
    told = sparse.FitConfig(n_steps=settings.n_steps, batch_size=batch, lr=2e-3, dead_after=20 * batch)
    kind = sparse.Config(settings.n_latents, "topk", settings.n_active)
    made = sparse.fit(
        x, kind, told, seed=seeding.derive(settings.seed, "matching", seed) % 2**31, progress=False
    )
    return made.model.eval()
