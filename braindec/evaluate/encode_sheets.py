"""Does a loss of smoothness lay out a network's units in patches, and what does it cost? A small sheet is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, config, seeding
from braindec.encoding import sheets
from braindec.evaluate import study
from braindec.stats.auc import roc_auc
from braindec.types import Report, Score

PATCHES, TASK = "moran_i", "factor_auc"
WORDS = {
    "systems": {
        "braindec": "with the loss of smoothness",
        "contender": "the same network without the loss",
        "shuffled": "units at random places of the sheet; of the task: labels shuffled in training",
    },
    "null": "mean of what is shuffled; draws in brackets",
}
LIMITS = (
    "Patches on this sheet are what the loss asks for: that a cortex has patches too does not show that it minimises "
    "the same. One layer, one task and one size of sheet were tried."
)


@dataclass(frozen=True)
class Settings:
    """The sheet and how it is trained.

    Parameters
    ----------
    side : int
        Units along each side.
    radius : float
        Of the neighbourhood that the loss looks at in each step.
    weight : float
        Of the loss of smoothness beside that of the task; 0 for a sheet without topography.
    n_steps : int
        Of Adam over all training stimuli.
    lr : float
    share : float
        Of the stimuli that are learnt from; the others are tested.
    n_null : int
        Random sheets; and half of these, at most ten, networks of shuffled labels.
    seed : int
    """

    side: int = 10
    radius: float = 3.0
    weight: float = 1.0
    n_steps: int = 1000
    lr: float = 1e-2
    share: float = 0.7
    n_null: int = 99
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("side", self.side, 3)
        checks.at_least("radius", self.radius, 1.0)
        checks.at_least("weight", self.weight, 0.0)
        checks.in_range("share", self.share, 0.1, 0.9)
        checks.at_least("n_null", self.n_null, 2)


SETTINGS = Settings()


class Sheet(nn.Module):
    """One layer of rectified units that lie on a sheet, and what is read from them.

    Parameters
    ----------
    n_features, n_units, n_things : int
    seed : int
    """

    def __init__(self, n_features: int, n_units: int, n_things: int, seed: int = 0) -> None:
        super().__init__()
        with seeding.seeded(seed, "sheet"):
            self.units, self.read = nn.Linear(n_features, n_units), nn.Linear(n_units, n_things)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Responses of the units (n, n_units) and logits of the things (n, n_things)."""
        responses = torch.relu(self.units(features))
        return responses, self.read(responses)


def train_sheet(features: Tensor, present: Tensor, settings: Settings = SETTINGS) -> Sheet:
    """A sheet that tells which things are in a stimulus, its neighbours alike as far as `settings.weight` asks.

    Parameters
    ----------
    features : Tensor, shape (n_stimuli, n_features)
        Of unit variance at best.
    present : bool Tensor, shape (n_stimuli, n_things)
    settings : Settings
    """
    places = sheets.grid(settings.side, settings.side)
    model = Sheet(features.shape[1], len(places), present.shape[1], settings.seed)
    generator = seeding.torch_generator(settings.seed, "neighbourhoods")
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    for _ in range(settings.n_steps):
        responses, logits = model(features)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, present.to(logits))
        near = sheets.neighbourhood(places, settings.radius, generator)
        if settings.weight > 0:
            loss = loss + settings.weight * sheets.roughness(responses, places, near)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return model.eval()


def sheet_study(
    features: Tensor,
    things: Mapping[str, np.ndarray],
    settings: Settings = SETTINGS,
    *,
    protocol: str = "heldout_stimuli",
) -> Report:
    """Trains a sheet with the loss and one without it; maps of selectivity and the task on held-out stimuli.

    Parameters
    ----------
    features : Tensor, shape (n_stimuli, n_features)
    things : mapping of str to bool array, shape (n_stimuli,)
        What is in each stimulus; things that are almost everywhere or nowhere are left out.
    settings : Settings
    protocol : str
        Name that the scores carry.
    """
    order = torch.randperm(len(features), generator=seeding.torch_generator(settings.seed, "sheet split"))
    train, test = order.split(
        [round(settings.share * len(order)), len(order) - round(settings.share * len(order))]
    )
    names = _common(things, test.numpy())
    present = torch.from_numpy(np.stack([things[name] for name in names], 1))
    x = (features - features[train].mean(0)) / features[train].std(0).clamp_min(1e-6)
    flat = config.override(settings, ["weight=0"])
    made = {
        "with": train_sheet(x[train], present[train], settings),
        "without": train_sheet(x[train], present[train], flat),
    }
    with torch.inference_mode():
        seen = {name: model(x[test]) for name, model in made.items()}
    rows = _patches(seen, present[test], settings, protocol)
    rows += _task(seen, x, present, train, test, settings, protocol)
    return _report(rows, seen, present[test], names, settings)


def _common(things: Mapping[str, np.ndarray], test: np.ndarray) -> list[str]:
    """Things that stay in some stimuli, and stay absent from others, whichever tenth of the tested is left out."""
    least = -(-len(test) // study.N_GROUPS) + 1
    kept = [name for name, own in things.items() if least <= own[test].sum() <= len(test) - least]
    if not kept:
        raise ValueError(
            f"no thing is in {least} or more of {len(test)} held-out stimuli and absent from as many."
        )
    return kept


def _clustering(responses: Tensor, present: Tensor) -> float:
    """Mean Moran's I of the sheet's maps of selectivity."""
    side = round(responses.shape[1] ** 0.5)
    return float(sheets.moran(sheets.selectivity(responses, present), sheets.grid(side, side)).mean())


def _patches(
    seen: Mapping[str, tuple[Tensor, Tensor]], present: Tensor, settings: Settings, protocol: str
) -> list[Score]:
    """Moran's I with the loss, beside random sheets of the same units, and without it."""
    places, rows = sheets.grid(settings.side, settings.side), []
    for system, (responses, _) in (("braindec", seen["with"]), ("contender", seen["without"])):
        maps = sheets.selectivity(responses, present)
        generator = seeding.torch_generator(settings.seed, "random sheets", system)
        null = sheets.moran_of_random_sheets(maps, places, settings.n_null, generator).mean(1)
        ends = study.jackknife(_clustering, responses, present, seed=settings.seed)
        found = study.scores(
            PATCHES, _clustering(responses, present), ends, null, len(present), protocol=protocol,
            chance=-1 / (len(places) - 1), n_units=len(places),
        )  # fmt: skip
        rows += found if system == "braindec" else [_as(found[0], system)]
    return rows


def _task(
    seen: Mapping[str, tuple[Tensor, Tensor]], x: Tensor, present: Tensor, train: Tensor, test: Tensor,
    settings: Settings, protocol: str,
) -> list[Score]:  # fmt: skip
    """Mean area under the ROC of the things, with and without the loss, beside networks of shuffled labels."""
    draw = seeding.torch_generator(settings.seed, "shuffled labels")
    null = []
    for _ in range(min(10, settings.n_null // 2)):
        wrong = present[train][torch.randperm(len(train), generator=draw)]
        model = train_sheet(x[train], wrong, settings)
        with torch.inference_mode():
            null.append(_area(model(x[test])[1], present[test]))
    rows = []
    for system, (_, logits) in (("braindec", seen["with"]), ("contender", seen["without"])):
        ends = study.jackknife(_area, logits, present[test], seed=settings.seed)
        found = study.scores(
            TASK, _area(logits, present[test]), ends, null, len(test), protocol=protocol, chance=0.5
        )
        rows += found if system == "braindec" else [_as(found[0], system)]
    return rows


def _area(logits: Tensor, present: Tensor) -> float:
    pairs = zip(logits.T.numpy(), present.T.numpy())
    return float(np.mean([roc_auc(scores, positive).value for scores, positive in pairs]))


def _as(score: Score, system: str) -> Score:
    """The same score of another system."""
    fields = {name: getattr(score, name) for name in score.__dataclass_fields__}
    return Score(**{**fields, "system": system})


def _report(
    rows: list[Score], seen: Mapping[str, tuple[Tensor, Tensor]], present: Tensor, names: list[str], settings: Settings
) -> Report:  # fmt: skip
    def of(name: str, system: str) -> Score:
        return next(s for s in rows if (s.name, s.system) == (name, system))

    ours, plain = of(PATCHES, "braindec"), of(PATCHES, "contender")
    said = [
        f"Maps of selectivity for {len(names)} things on {settings.side} x {settings.side} units have a Moran's I of "
        f"{ours.value:.3f} with the loss of smoothness (the same units on random sheets {ours.null:.3f}), "
        f"{plain.value:.3f} without it.",
        f"Held-out things are told with an area under the ROC of {of(TASK, 'braindec').value:.3f} with the loss, "
        f"{of(TASK, 'contender').value:.3f} without it (labels shuffled {of(TASK, 'braindec').null:.3f}).",
    ]
    places = sheets.grid(settings.side, settings.side)
    series: dict[str, Any] = {
        words: sheets.moran(sheets.selectivity(seen[name][0], present), places).numpy()
        for words, name in (("with the loss", "with"), ("without it", "without"))
    }
    panels = [("Patches by thing", "regions", study.bars(names, series, "Moran's I", chance=ours.chance))]
    return study.report(
        "Units on a sheet", said, rows, panels, LIMITS, settings=config.to_json(settings), words=WORDS
    )
