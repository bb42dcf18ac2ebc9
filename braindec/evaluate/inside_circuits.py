"""A layer whose circuit is planted: its transcoder, and latents followed through it, beside controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, sparse
from braindec.evaluate import inside_worlds as worlds
from braindec.evaluate import study
from braindec.sparse import circuits, losses, matching, transcoder
from braindec.sparse.dictionary import Dictionary
from braindec.stats.intervals import t_interval
from braindec.types import Report, Score

SUBJECT = "planted"
LR = 0.03  # of these small worlds, as in the study of diagnoses
LIMIT = (
    "One layer, with orthogonal features and as many latents as it takes: circuits of a trained network are not known, "
    "and its features overlap. Effects are of single latents: what two do together is not asked. That an effect does "
    "not come through a dormant pathway does not say that the network uses it for anything."
)


@dataclass(frozen=True)
class Settings:
    """Sizes of the planted layer and of what is fitted to it.

    Parameters
    ----------
    n_samples, n_dims : int
        Half of the samples train, half judge.
    n_before, n_after : int
        Features of inputs, of which the last drives nothing, and of outputs; at most n_dims - 1 and n_dims.
    n_steps : int
    n_null : int
        Refits with outputs of other inputs.
    seed : int
    """

    n_samples: int = 6000
    n_dims: int = 16
    n_before: int = 10
    n_after: int = 8
    n_steps: int = 600
    n_null: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        checks.in_range("n_before", self.n_before, 3, self.n_dims - 1)
        checks.in_range("n_after", self.n_after, 1, self.n_dims)
        checks.at_least("n_null", self.n_null, 1)


def circuit_study(settings: Settings = Settings(), *, protocol: str = "heldout_stimuli") -> Report:
    """What a transcoder finds of a planted circuit, and what ablated latents do in the next layer."""
    made = worlds.circuit(
        settings.n_samples, settings.n_dims, settings.n_before, settings.n_after, settings.seed
    )
    written, told = _written(made, settings, protocol)
    followed, edges, panels = _followed(made, settings, protocol)
    said = [told, *edges]
    return study.report("A circuit through one layer", said, [*written, *followed], panels, LIMIT)


def _training(settings: Settings, n: int) -> sparse.FitConfig:
    batch = min(128, n)
    return sparse.FitConfig(
        n_steps=settings.n_steps, batch_size=batch, lr=LR, dead_after=12 * batch, decay_fraction=0.4,
        loss=losses.Config(),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ transcoder


def _written(made: worlds.Circuit, settings: Settings, protocol: str) -> tuple[list[Score], str]:
    """What the layer writes, found by a transcoder, beside those of outputs that belong to other inputs."""
    n = len(made.inputs) // 2
    inputs, outputs = made.inputs[:n], made.layer(made.inputs[:n])
    config = transcoder.Config(2 * settings.n_after, 2)
    generator = seeding.torch_generator(settings.seed, "transcoder null")

    def fitted(rows: Tensor) -> transcoder.Transcoder:
        return transcoder.fit(inputs, outputs[rows], config, _training(settings, n), seed=settings.seed)

    model = fitted(torch.arange(n))
    pairs = matching.match(matching.cosines(made.after, model.atoms.detach()))
    each = torch.zeros(len(made.after)).index_put((pairs.first,), pairs.similarity)
    others = [fitted(torch.randperm(n, generator=generator)) for _ in range(settings.n_null)]
    nulls = [matching.recovery(made.after, one.atoms) for one in others]
    left, of_others = _left(model, made, n), float(np.mean([_left(one, made, n) for one in others]))
    ends = t_interval(float(each.mean()), float(each.std()) / len(each) ** 0.5, len(each))
    scores = study.scores(
        "outputs_found_transcoder", float(each.mean()), (ends.low, min(1.0, ends.high)), nulls, len(each),
        subject=SUBJECT, protocol=protocol, fvu=left, fvu_null=of_others,
    )  # fmt: skip
    return scores, (
        f"A transcoder finds what the layer writes with a cosine of {float(each.mean()):.3f} and leaves {left:.2f} of "
        f"its outputs' variance; with outputs of other inputs {np.mean(nulls):.3f} and {of_others:.2f}."
    )


@torch.no_grad()
def _left(model: transcoder.Transcoder, made: worlds.Circuit, first: int) -> float:
    """Share of the variance of held-out outputs that a transcoder leaves."""
    outputs = made.layer(made.inputs[first:])
    error = (outputs - model(made.inputs[first:])).square().sum()
    return float(error / (outputs - outputs.mean(0)).square().sum())


# --------------------------------------------------------------------------------------------------------- followed


def _followed(
    made: worlds.Circuit, settings: Settings, protocol: str
) -> tuple[list[Score], list[str], list[study.Panel]]:
    """Edges by ablation of latents of fitted dictionaries; and a direction that works through a dormant pathway."""
    n = len(made.inputs) // 2
    train, test = made.inputs[:n], made.inputs[n:]
    generator = seeding.torch_generator(settings.seed, "followed")
    active = max(1, round(settings.n_before / 3))
    before = _dictionary(train, settings.n_before, active, settings)
    after = _dictionary(made.layer(train), settings.n_after, 2, settings)
    mine, theirs = (
        matching.match(matching.cosines(a, b.atoms.detach()))
        for a, b in ((made.before, before), (made.after, after))
    )
    found = circuits.effects(before, made.layer, after, test, mine.second.tolist(), generator=generator)
    wired = made.wired[mine.first][:, theirs.first]
    size = found.ablated[:, theirs.second].nan_to_num()
    value, n_edges = _area(size, wired), wired.numel()
    nulls = [_area(one[:, theirs.second].nan_to_num(), wired) for one in found.random]
    ends = [_area(size[keep], wired[keep]) for keep in _leaving_one(len(size))]
    spread = float(np.std(ends)) * (len(ends) - 1) ** 0.5
    scores = study.scores(
        "edges_found_by_ablation", value, (max(0.0, value - 1.96 * spread), min(1.0, value + 1.96 * spread)), nulls,
        n_edges, chance=0.5, subject=SUBJECT, protocol=protocol,
    )  # fmt: skip
    dead, live = _illusion(made, test, after, generator)
    sound = found.dormant[found.size > found.size.median()].median()
    said = [
        f"Ablated, a latent moves the latents of the next layer that it drives more than others: area {value:.3f} over "
        f"{n_edges} pairs (chance 0.5; a random latent taken away instead {np.mean(nulls):.3f}).",
        f"A direction that drives nothing, with one added that the layer reads and inputs never use: {dead:.2f} of its "
        f"effect is not what inputs do (feature 0's {live:.2f}, fitted latents {float(sound):.2f}).",
    ]
    panels: list[study.Panel] = [
        ("Each latent's effect on the next layer", "table", {
            "columns": ["feature before", "on those it drives", "on others", "random latent on those", "not by inputs"],
            "rows": _rows(found, wired, mine.first, theirs.second),
            "caption": "Mean change of activation when the latent is ablated, in held-out samples with it.",
        }),
    ]  # fmt: skip
    return scores, said, panels


def _dictionary(values: Tensor, n_latents: int, n_active: int, settings: Settings) -> Dictionary:
    config = sparse.Config(n_latents, "topk", n_active)
    return sparse.fit(
        values, config, _training(settings, len(values)), seed=settings.seed, progress=False
    ).model


def _area(size: Tensor, wired: Tensor) -> float:
    """Chance that a wired pair's effect is larger than another's, ties half; 0.5 where all or none are wired."""
    on, off = size[wired], size[~wired]
    if not len(on) or not len(off):
        return 0.5
    difference = on[:, None] - off
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def _leaving_one(n: int) -> list[Tensor]:
    return [torch.arange(n) != i for i in range(n)]


def _illusion(
    made: worlds.Circuit, test: Tensor, after: Dictionary, generator: torch.Generator
) -> tuple[float, float]:
    """Dormant share of a direction that does nothing but for a dormant one added to it, and of feature 0."""
    atoms = made.before.clone()
    atoms[-1] = atoms[-1] - 2 * made.dormant
    known = sparse.SparseAutoencoder(made.before.shape[1], sparse.Config(len(atoms), "gated")).eval()
    with torch.no_grad():
        known.atoms.copy_(atoms)
        known.encoder.copy_(made.before)
        known.encoder_bias.fill_(-0.25)  # half of the weakest feature
    found = circuits.effects(
        known, made.layer, after, test, [len(atoms) - 1, 0], generator=generator, n_draws=1
    )
    return float(found.dormant[0]), float(found.dormant[1])


def _rows(found: circuits.Effects, wired: Tensor, features: Tensor, columns: Tensor) -> list[list[str]]:
    size, random = found.ablated[:, columns], found.random[:, :, columns].mean(0)

    def mean(values: Tensor) -> str:
        return f"{float(values.mean()):.3f}" if len(values) else "–"

    return [
        [str(int(k)), mean(size[i, wired[i]]), mean(size[i, ~wired[i]]), mean(random[i, wired[i]]),
         f"{float(found.dormant[i]):.2f}"]
        for i, k in enumerate(features)
    ]  # fmt: skip
