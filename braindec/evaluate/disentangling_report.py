"""The page of disentangled ERPs: what each latent does to an ERP, which factor it holds, and ERPs of symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from braindec import config
from braindec.decoder.disentangled import DisentangledErps, kl_from_prior
from braindec.evaluate import study
from braindec.evaluate.disentangling_scores import (
    DCI,
    DRAWN,
    MIG,
    NAMED,
    READ,
    Chosen,
    Fitted,
    Latents,
    Parts,
    drawn_erps,
)
from braindec.metrics import disentanglement
from braindec.metrics.disentanglement import INFORMATIVE
from braindec.types import Report, Score

if TYPE_CHECKING:
    from braindec.evaluate.disentangling import Settings

WORDS = {
    "braindec": "beta-VAE chosen by the agreement of its fits; symbols grounded in it",
    "contender": "VAE (beta 1); symbols grounded in it",
    "scratch": "autoencoder without noise",
    "ridge": "principal components; of names ridge on whole ERPs; of drawn ERPs main effects added",
    "nearest": "training ERPs that share most levels",
    "oracle": "what was planted, without noise",
    "shuffled": "factors exchanged among training ERPs; of gaps, among tested ones",
}
LIMITS = (
    "What was planted are a few components; recorded ERPs differ between people in ways without a name. No latent "
    "is bound to be one factor: where data do not tell them apart, a prior that favours axes is all that does. Symbols "
    "say of a new combination what latents that add up would, and no interaction that was never seen. That a name is "
    "told of a group's ERP is no diagnosis of a person."
)
N_TRAVERSED, N_DRAWN, STEPS = 4, 2, (-2.0, -1.0, 0.0, 1.0, 2.0)


def report(
    scores: Sequence[Score], parts: Parts, fitted: Fitted, chosen: Chosen, latents: Mapping[str, Latents],
    settings: Settings,
) -> Report:  # fmt: skip
    """Scores, sentences and panels."""
    panels = [
        *_traversals(parts, fitted.ours),
        *_shares(parts, latents),
        *_drawn(parts, fitted),
        ("What is told of each factor", "table", _by_factor(scores, parts)),
        ("Which beta", "table", _chosen(chosen)),
    ]
    run = {
        "settings": config.to_json(settings),
        "chosen": {
            "beta": chosen.beta, "seed": chosen.which, "ranked": list(chosen.enough),
            "udr": {f"{b:g}": values.tolist() for b, values in chosen.udr.items()},
            "rebuilt": {f"{b:g}": value for b, value in chosen.rebuilt.items()},
            "informative": {f"{b:g}": list(n) for b, n in chosen.informative.items()},
        },
        "words": {"systems": WORDS, "null": "factors exchanged among ERPs, and what looks at them fitted again"},
    }  # fmt: skip
    return study.report("ERPs taken apart", _said(scores, parts, chosen), scores, panels, LIMITS, **run)


def _said(scores: Sequence[Score], parts: Parts, chosen: Chosen) -> list[str]:
    found = {(s.name, s.system): s for s in scores}

    def value(name: str, system: str = "braindec") -> str:
        return f"{found[name, system].value:.3f}"

    def whole(name: str, system: str = "braindec") -> str:
        low, high = found[name, system].interval
        return f"{value(name, system)} [{low:.3f}, {high:.3f}]"

    named = found[NAMED, "braindec"]
    n_informative = chosen.informative[chosen.beta][chosen.which]
    return [
        f"Levels of {len(parts.train.names)} factors are named of {named.n} ERPs of people that were not learnt from: "
        f"{whole(NAMED)} right (chance {named.chance:.3f}, shuffled {named.null:.3f}), with symbols of a VAE with beta "
        f"1 {value(NAMED, 'contender')}, by ridge on whole ERPs {whole(NAMED, 'ridge')}.",
        f"ERPs drawn of {found[DRAWN, 'braindec'].n} combinations that were never seen correlate with recorded means "
        f"with r {whole(DRAWN)} (shuffled {found[DRAWN, 'braindec'].null:.3f}); main effects added "
        f"{whole(DRAWN, 'ridge')}, training ERPs that share most levels {value(DRAWN, 'nearest')}, symbols of a VAE "
        f"with beta 1 {value(DRAWN, 'contender')}, what was planted {value(DRAWN, 'oracle')}.",
        f"Agreement of seeds chose beta {chosen.beta:g} (UDR {float(chosen.udr[chosen.beta].quantile(0.5)):.3f}; "
        f"{n_informative} latents say something).",
        f"Mutual information gap {whole(MIG)} (shuffled {found[MIG, 'braindec'].null:.3f}), beta 1 "
        f"{whole(MIG, 'contender')}, autoencoder {value(MIG, 'scratch')}, principal components {whole(MIG, 'ridge')}. "
        + _verdict(found, MIG),
        f"Disentanglement by forests (DCI) {whole(DCI)} (shuffled {found[DCI, 'braindec'].null:.3f}), beta 1 "
        f"{value(DCI, 'contender')}, autoencoder {value(DCI, 'scratch')}, principal components {whole(DCI, 'ridge')}. "
        + _verdict(found, DCI),
        f"Linear classifiers of latents tell {whole(READ)} of levels (shuffled {found[READ, 'braindec'].null:.3f}), "
        f"of principal components {whole(READ, 'ridge')}. " + _verdict(found, READ),
    ]


def _verdict(found: Mapping[tuple[str, str], Score], name: str) -> str:
    ours, other = found[name, "braindec"], found[name, "ridge"]
    if ours.interval[0] > other.interval[1]:
        return "Principal components do worse."
    return (
        "Principal components do better."
        if ours.interval[1] < other.interval[0]
        else "Principal components do as well."
    )


def _informative(model: DisentangledErps, erps: Tensor) -> tuple[Tensor, Tensor]:
    """Latents that say something, those that say most first, and the SD of each latent's mean over ERPs."""
    with torch.no_grad():
        q = model.encode(erps)
    cost = kl_from_prior(q).mean(0)
    order = cost.argsort(descending=True)
    return order[cost[order] > INFORMATIVE], q.mean.std(0)


def _traversals(parts: Parts, model: DisentangledErps) -> list[study.Panel]:
    """ERPs as one latent goes from low to high, the others at their mean; where that changes most."""
    values, _ = parts.held
    order, sd = _informative(model, parts.train.values)
    with torch.no_grad():
        middle = model.encode(parts.train.values).mean.mean(0)
    panels = []
    for place, latent in enumerate(order[:N_TRAVERSED].tolist()):
        at = middle.repeat(len(STEPS), 1)
        at[:, latent] += torch.tensor(STEPS) * sd[latent]
        with torch.no_grad():
            made = model.decode(at)
        channel = int((made[-1] - made[0]).square().sum(1).argmax())
        said = _holds(parts, model, latent)
        payload = {
            "time_s": parts.train.times_s,
            "series": {f"{step:+g} SD": made[i, channel].numpy() for i, step in enumerate(STEPS)},
            "ylabel": f"µV at channel {channel + 1}", "section": "latents",
            "caption": f"The other latents stay at their mean; of {len(values)} held-out ERPs it says {said}.",
        }  # fmt: skip
        panels.append((f"Latent {place + 1} of {len(order)}", "rsa_time_course", payload))
    return panels


def _holds(parts: Parts, model: DisentangledErps, latent: int) -> str:
    """What share of each factor's entropy a latent says, in words, the most first."""
    values, factors = parts.held
    with torch.no_grad():
        share = _share(model.encode(values).mean[:, [latent]], factors)[0]
    order = share.argsort(descending=True).tolist()
    return ", ".join(f"{float(share[i]):.2f} of {parts.train.names[i]}" for i in order)


def _share(z: Tensor, factors: Tensor) -> Tensor:
    """Mutual information over the factor's entropy, (n_latents, n_factors)."""
    entropy = torch.stack([_entropy(column) for column in factors.T])
    return disentanglement.mutual_information(z, factors) / entropy


def _entropy(column: Tensor) -> Tensor:
    share = torch.unique(column, return_counts=True)[1].double() / len(column)
    return -(share * share.log()).sum()


def _shares(parts: Parts, latents: Mapping[str, Latents]) -> list[study.Panel]:
    """Which latent says what of which factor: of the beta-VAE and of principal components."""
    values, factors = parts.held
    panels = []
    for system, title in (("braindec", "beta-VAE"), ("ridge", "principal components")):
        share = _share(latents[system](values), factors)
        order = share.amax(1).argsort(descending=True)
        payload = {
            "values": share[order].T.numpy(), "columns": list(parts.train.names), "chance": 1e-6,
            "groups": [f"{i + 1}" for i in range(len(order))], "label": "share of the factor's entropy",
            "xlabel": "factor", "section": "latents",
            "caption": "Rows are latents, first those that say most of one factor. Taken "
            "apart, each row and each column has one bright cell.",
        }  # fmt: skip
        panels.append((f"What latents say of factors: {title}", "latent_map", payload))
    return panels


def _drawn(parts: Parts, fitted: Fitted) -> list[study.Panel]:
    """ERPs of new combinations, as drawn and as recorded."""
    recorded, made = drawn_erps(parts, fitted)
    panels = []
    for i, combination in enumerate(parts.combinations[:N_DRAWN]):
        levels = [names[int(level)] for names, level in zip(parts.train.levels, combination, strict=True)]
        said = ", ".join(f"{name} {level}" for name, level in zip(parts.train.names, levels, strict=True))
        channel = int((recorded[i] - parts.train.values.mean(0)).square().sum(1).argmax())
        series: dict[str, Any] = {"recorded mean": recorded[i, channel].numpy()}
        for label, system in (
            ("drawn of symbols", "braindec"),
            ("main effects", "ridge"),
            ("planted", "oracle"),
        ):
            series[label] = made[system][i, channel].numpy()
        payload = {
            "time_s": parts.train.times_s, "series": series, "ylabel": f"µV at channel {channel + 1}",
            "section": "latents", "caption": "No ERP of this combination was learnt from.",
        }  # fmt: skip
        panels.append((f"Never seen: {said}", "rsa_time_course", payload))
    return panels


def _by_factor(scores: Sequence[Score], parts: Parts) -> dict[str, Any]:
    rows = []
    for name, what in ((NAMED, "named by symbols"), (READ, "linear classifier"), (MIG, "information gap")):
        for score in scores:
            if score.name == name and "by_factor" in score.details:
                rows.append(
                    [what, WORDS[score.system].partition(";")[0], *map(float, score.details["by_factor"])]
                )
                if name == NAMED and score.system == "ridge":
                    rows[-1][1] = "ridge on whole ERPs"
    chance = [1 / len(levels) for levels in parts.train.levels]
    return {
        "columns": ["", "of", *parts.train.names],
        "rows": [*rows, ["chance of names", "", *chance]],
        "caption": "Accuracies are means over levels.",
    }


def _chosen(chosen: Chosen) -> dict[str, Any]:
    rows = [
        [
            f"{beta:g}" + (" (chosen)" if beta == chosen.beta else ""), float(ranking.quantile(0.5)),
            f"{float(ranking.min()):.3f} to {float(ranking.max()):.3f}",
            ", ".join(map(str, chosen.informative[beta])), float(chosen.rebuilt[beta]),
            "yes" if beta in chosen.enough else "no: rebuilds too little",
        ]
        for beta, ranking in chosen.udr.items()
    ]  # fmt: skip
    return {
        "columns": ["beta", "UDR, median", "over seeds", "latents that say something", "rebuilt", "ranked"],
        "rows": rows,
        "caption": "No factor is looked at. UDR is 1 where fits with other seeds have the same latents but for order "
        "and sign. Rebuilt: share of training ERPs' variance, most of which is noise.",
    }
