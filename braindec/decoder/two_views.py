"""Contrast of two views: a backbone's trunk learns, from windows of volumes without labels, which views are of one.

In one view the same places are hidden at all volumes; in the other some volumes are replaced by what those before and
after them say by interpolation in time. Adapters stay as they are drawn; the trunk is what is kept, the light head
behind it is thrown away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, seeding, store, train
from braindec.backbones._patches import PatchBackbone
from braindec.data import NeuralDataset
from braindec.decoder.batches import Batches
from braindec.decoder.fitting import SubjectSet, without_labels
from braindec.decoder.masked import TRAIN, Pretrained
from braindec.decoder.patch_values import only_trunk_learns_, patch_backbone
from braindec.decoder.rows import Rows
from braindec.encoder import Encoder
from braindec.losses import clip
from braindec.ranks import Ranks
from braindec.stats.intervals import wilson
from braindec.types import SignalInfo, SubjectSignal

MAX_LOOKED_AT = 1000  # held-out windows of a subject, evenly over all, among which views are looked for
VOLUME = re.compile(r"volume ([+-]\d+)")  # regions that `data.sliding.windowed` names


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    hidden : float
        Share of places that the first view hides, the same ones at all volumes of a window, in (0, 1); one place at
        least is hidden and one shown.
    interpolated : float
        Share of the volumes between a window's first and last that the second view replaces, in (0, 1]; one at least.
    temperature : float
        Of the contrast.
    dim : int
        Values of the vectors that are compared.
    train : train.Config
        Its `validation_fraction` of runs (of windows, where there are fewer than five) chooses the step that is kept.

    Notes
    -----
    Spatial masking and temporal interpolation of Sun et al. 2024 (NeuroCine), arXiv:2402.01590; a light head behind the
    trunk and the temperature as in SimCLR, Chen et al. 2020, arXiv:2002.05709. Windows that overlap in time are told
    apart like others.
    """

    hidden: float = 0.5
    interpolated: float = 0.5
    temperature: float = 0.1
    dim: int = 32
    train: train.Config = TRAIN

    def __post_init__(self) -> None:
        checks.in_range("hidden", self.hidden, 0.01, 0.99)
        checks.in_range("interpolated", self.interpolated, 0.01, 1.0)
        checks.in_range("temperature", self.temperature, 1e-3, 100.0)
        checks.at_least("dim", self.dim, 2)


@dataclass(frozen=True, eq=False)
class Volumes:
    """Where the volumes of a window lie in a signal, and which patches are theirs.

    Parameters
    ----------
    times : float Tensor, shape (n_volumes,)
        In volumes from the window's own, ascending.
    features : int Tensor, shape (n_volumes, n_features)
        Columns of the signal; a column of these is one place at all times.
    patches : int Tensor, shape (n_volumes, n_places)
        The same of the backbone's patches.
    """

    times: Tensor
    features: Tensor
    patches: Tensor

    @classmethod
    def of(cls, signal: SubjectSignal, encoder: Encoder) -> Volumes:
        """Those of one subject's windows.

        Raises
        ------
        ValueError
            If signals are no windows of three volumes or more.
        ConfigError
            If the adapter does not give every volume patches of its own, equally many.
        """
        regions = {VOLUME.fullmatch(name): inside for name, inside in signal.space.regions.items()}
        named = {int(found[1]): inside for found, inside in regions.items() if found}
        times = sorted(named)
        columns = [np.flatnonzero(named[t]) for t in times]
        if len(signal.shape) != 1 or len(times) < 3 or len({len(c) for c in columns}) > 1:
            raise ValueError(
                f"two views need windows of at least 3 volumes, {signal.key} has {len(times)} in a signal of shape "
                f"{tuple(signal.shape)}; make windows with data.sliding.windowed and keep their features as they are."
            )
        features = torch.from_numpy(np.stack(columns))
        return cls(torch.tensor(times).float(), features, _patches_of(encoder, signal, features))

    def drawn_places(self, noise: Tensor, share: float) -> Tensor:
        """Patches that are shown where a share of the places is hidden at all volumes: (n_trials, n_shown).

        `noise` (n_trials, n_places) is in [0, 1); the places with the smallest values are shown.
        """
        n = noise.shape[1]
        n_shown = min(max(round((1 - share) * n), 1), n - 1)
        shown = noise.argsort(1)[:, :n_shown]
        return self.patches.to(noise.device)[:, shown].transpose(0, 1).flatten(1)

    def drawn_times(self, noise: Tensor, share: float) -> Tensor:
        """Which volumes are replaced, bool (n_trials, n_volumes): of those between the first and the last.

        `noise` (n_trials, n_volumes - 2) is in [0, 1); the volumes with the smallest values are replaced.
        """
        n = noise.shape[1]
        chosen = noise.argsort(1)[:, : max(round(share * n), 1)]
        inner = torch.zeros_like(noise, dtype=torch.bool).scatter(1, chosen, True)
        return nn.functional.pad(inner, (1, 1))

    def interpolated(self, signals: Tensor, replaced: Tensor) -> Tensor:
        """Signals (n_trials, n_values) whose replaced volumes lie on the line, in time, between those that are not."""
        columns = self.features.to(signals.device)
        weights = time_weights(self.times.to(signals), replaced)
        out = signals.clone()
        out[:, columns] = torch.einsum("nvu,nuf->nvf", weights, signals[:, columns])
        return out


def time_weights(times: Tensor, replaced: Tensor) -> Tensor:
    """How much of each volume makes up each volume where some are interpolated in time.

    Parameters
    ----------
    times : Tensor, shape (n_volumes,)
        Ascending.
    replaced : bool Tensor, shape (n_trials, n_volumes)
        False for the first and the last.

    Returns
    -------
    Tensor, shape (n_trials, n_volumes, n_volumes)
        Rows sum to 1; that of a volume that is not replaced holds itself alone.
    """
    n = len(times)
    here = torch.arange(n, device=replaced.device).expand_as(replaced)
    before = here.masked_fill(replaced, 0).cummax(1).values
    after = here.masked_fill(replaced, n - 1).flip(1).cummin(1).values.flip(1)
    between = (times[after] - times[before]).clamp_min(1e-12)
    share = ((times - times[before]) / between)[..., None]
    first, second = (nn.functional.one_hot(which, n).to(times) for which in (before, after))
    return (1 - share) * first + share * second


@torch.no_grad()
def _patches_of(encoder: Encoder, signal: SubjectSignal, features: Tensor) -> Tensor:
    """Patches (n_volumes, n_places) that change where the features of one volume change."""
    adapter, patches = encoder.adapter(signal.key).eval(), patch_backbone(encoder).patches
    still = torch.zeros(1, *signal.shape)
    found = []
    for number, own in enumerate(features):
        one = still.clone()
        one[0, own] = 1 + torch.rand(len(own), generator=seeding.torch_generator(0, "volume", number))
        found.append((patches.cut(adapter(one)) != patches.cut(adapter(still)))[0].any(1))
    reached = torch.stack(found)
    counts = reached.sum(1)
    if bool((reached.sum(0) != 1).any()) or len(counts.unique()) > 1 or int(counts[0]) < 2:
        raise checks.ConfigError(
            "two views hide the same places at all volumes, so every volume needs patches of its own, equally many and "
            "at least two; take the adapter region_patches with the volumes as regions, e.g. ('volume -1', "
            "'volume +0', 'volume +1') and rest=False."
        )
    return torch.stack([torch.nonzero(row).flatten() for row in reached])


class Viewer(nn.Module):
    """An encoder's trunk and the light head behind it: a vector of length 1 a view.

    Parameters
    ----------
    encoder : Encoder
        Its adapters and heads are frozen.
    config : Config
    info : SignalInfo
        Of what the encoder takes.
    """

    def __init__(self, encoder: Encoder, config: Config, info: SignalInfo):
        super().__init__()
        only_trunk_learns_(encoder)
        self.encoder, self.config = encoder, config
        self.volumes = {key: Volumes.of(signal, encoder) for key, signal in info.signals.items()}
        width = self.trunk.width
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.dim))
        self.loss = clip.build(clip.Config(temperature=config.temperature))

    @property
    def trunk(self) -> PatchBackbone:
        """The encoder's backbone."""
        return patch_backbone(self.encoder)

    def draw(self, key: str, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For so many windows: which patches the first view shows, and which volumes the second replaces."""
        volumes, device = self.volumes[key], generator.device
        places = torch.rand(n, volumes.patches.shape[1], generator=generator, device=device)
        times = torch.rand(n, len(volumes.times) - 2, generator=generator, device=device)
        return (
            volumes.drawn_places(places, self.config.hidden),
            volumes.drawn_times(times, self.config.interpolated),
        )

    def views(self, key: str, signals: Tensor, shown: Tensor, replaced: Tensor) -> tuple[Tensor, Tensor]:
        """Both views of some windows, each (n_trials, dim) of length 1."""
        self.encoder.eval()  # no dropout in what the trunk is shown
        trunk, adapter = self.trunk.train(self.training), self.encoder.adapter(key)
        between = self.volumes[key].interpolated(signals, replaced)
        tokens = trunk.tokens(adapter(signals), shown), trunk.tokens(adapter(between))
        hidden, interpolated = (nn.functional.normalize(self.head(t.mean(1)), dim=1) for t in tokens)
        return hidden, interpolated

    def contrast(self, hidden: Tensor, interpolated: Tensor) -> Tensor:
        """InfoNCE of the views of a batch, in both directions."""
        ids = torch.arange(len(hidden), device=hidden.device)
        found: Tensor = self.loss(hidden[:, None], interpolated[:, None], ids, 0.0, None)
        return found


def objective(
    module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Mean contrast over subjects, each among its own windows; a rank draws the views of the whole batch."""
    viewer, ranks = checks.of_type("module", module, Viewer), Ranks.here()
    found = []
    for key in batch["keys"]:
        signals = batch[f"signals/{key}"]
        drawn = viewer.draw(key, len(signals), generator)
        own = ranks.share(len(signals))
        made = viewer.views(key, signals[own], *(d.to(signals.device)[own] for d in drawn))
        found.append(viewer.contrast(*(ranks.gather(v, ranks.shares(len(signals))) for v in made)))
    return {"contrast": torch.stack(found).mean()}


@dataclass(frozen=True)
class Found:
    """How the views of one subject's windows find each other.

    Parameters
    ----------
    identified : float
        Share of views whose most similar view of the other kind is that of the same window; chance is ``1 / n``.
    contrast : float
        InfoNCE among all of them.
    n : int
        Windows.
    """

    identified: float
    contrast: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's of `identified`, as if windows were independent; those that overlap are not."""
        found = wilson(self.identified * self.n, self.n)
        return float(found.low), float(found.high)


@torch.no_grad()
def looked_for(viewer: Viewer, sets: Mapping[str, SubjectSet], seed: int) -> dict[str, Found]:
    """How views of these windows find each other, by signal key; drawn alike whatever the weights."""
    viewer.eval()
    device, found = next(viewer.parameters()).device, {}
    for key, data in sets.items():
        n = min(len(data.signals), MAX_LOOKED_AT)
        rows = torch.linspace(0, len(data.signals) - 1, n).round().long()
        drawn = viewer.draw(key, n, seeding.torch_generator(seed, "two views look", key))
        views = viewer.views(key, data.signals[rows].to(device), *(d.to(device) for d in drawn))
        similarity, own = views[0] @ views[1].T, torch.arange(n, device=device)
        hits = [(similarity.argmax(axis) == own).float().mean() for axis in (0, 1)]
        found[key] = Found(float(torch.stack(hits).mean()), float(viewer.contrast(*views)), n)
    return found


def pretrain(
    encoder: Encoder,
    signals: Mapping[str, Rows],
    part: NeuralDataset,
    config: Config,
    seed: int,
    *,
    info: SignalInfo,
    folder: Path | None = None,
    progress: bool = True,
    about: str = "",
) -> Pretrained:
    """The trunk whose views of held-out windows find each other best; labels are not looked at.

    Parameters
    ----------
    encoder : Encoder
        Fresh, with an adapter for every subject; changed in place.
    signals : mapping of str to Tensor or RowTensor
        Preprocessed windows, by signal key.
    part : NeuralDataset
        Whose trials these are.
    config : Config
    seed : int
    info : SignalInfo
        Of these signals.
    folder : Path, optional
        Where log and checkpoints go; an unfinished pretraining found there is resumed.
    about : str
        Names how the signals were prepared and what the encoder is, which a resumed pretraining must share.

    Returns
    -------
    Pretrained
        Its `about` holds ``views``: by signal key how many held-out windows' views are ``identified``, with
        ``interval``, ``chance``, ``n``, and how many are by the ``untrained`` trunk and head.

    Raises
    ------
    ValueError
        If the backbone has no patches, or signals are no windows.
    """
    sets, held = without_labels(signals, part, config.train.validation_fraction, seed, "two views held")
    with seeding.seeded(seed, "two views head"):
        viewer = Viewer(encoder, config, info)
    untrained = looked_for(viewer, held, seed)

    def validate(module: nn.Module) -> float:
        return -float(np.mean([f.contrast for f in looked_for(viewer, held, seed).values()]))

    told = {"dataset": part.identity(), "hidden": config.hidden, "interpolated": config.interpolated,
            "temperature": config.temperature, "dim": config.dim, "about": about}  # fmt: skip
    log = train.fit(
        viewer, Batches(sets, config.train, seed, "two_views"), objective, config.train, seed=seed, name="two_views",
        folder=folder, progress=progress, validate=validate if held else None, about=store.content_hash(**told),
    )  # fmt: skip
    looked = looked_for(viewer, held, seed)
    views = {
        key: {
            "identified": f.identified, "interval": list(f.interval), "chance": 1 / f.n, "n": f.n,
            "untrained": untrained[key].identified,
        }
        for key, f in looked.items()
    }  # fmt: skip
    missed = [(1 - f.identified) / max(1 - 1 / f.n, 1e-12) for f in looked.values()]
    trunk = {name: v.detach().clone() for name, v in viewer.trunk.trunk().items()}
    rows = {key: int(trials.n_trials) for key, trials in part.trials.items()}
    said = {"dataset": part.identity(), "n_trials": rows, "best_step": log.best_step, "views": views}
    return Pretrained(trunk, float(np.mean(missed)) if missed else float("nan"), log, said)
