"""Federated fitting: sites that keep their recordings and adapters, and a trunk that is averaged over them.

A site holds its own dataset, of other people, devices and channels than the next one's. In each round it trains its
adapters and a copy of the trunk (the backbone) for some steps; trunks are then averaged by numbers of trials (FedAvg,
McMahan et al. 2017, arXiv:1602.05629). What leaves a site is an `Update`: named tensors of the trunk and a count of
trials. Adapters, learned temperatures, running statistics (as in SiloBN, Andreux et al. 2020, arXiv:2008.07424),
preprocessing, signals and embeddings stay.

That is no guarantee of privacy. Weights tell of the data that they were trained on: trials can be guessed from updates
(Zhu et al. 2019, arXiv:1906.08935), and whoever receives the trunk can ask whether a recording was among those. There
is no secure aggregation here, so the server sees every site's update, and no noise, so there is no epsilon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from braindec import checkpoints, checks, config, registry, seeding, store
from braindec.decoder.settings import settings_of
from braindec.types import EmbeddingsInfo

Weights = Mapping[str, Tensor]
Level = Literal["site", "group", "whole"]
NAME = "federation"  # of its checkpoints
ALL = "all"  # the group of a site that names none


@dataclass(frozen=True)
class Config:
    """Settings that all sites and the server share.

    Parameters
    ----------
    rounds : int
    local_steps : int
        Steps that a site makes in a round.
    proximal : float
        Half of it times the squared distance of the trunk from where the round began is added to a site's loss
        (FedProx, Li et al. 2018, arXiv:1812.06127); 0 is FedAvg.
    personal : tuple of str
        How the names of the trunk's parameters begin that never leave a site, e.g. ``("heads.",)``; adapters never do.
    grouped : tuple of str
        How the names of those begin that are averaged within a group of sites alone (one device, one modality).
    groups_count : ``"trials"`` or ``"equal"``
        Everything else is averaged inside each group first, then over groups: by their trials, which is FedAvg over all
        sites, or alike, so that one device's many recordings do not outvote the others.
    moments : ``"kept"`` or ``"fresh"``
        Whether a site's optimiser remembers, in the next round, the gradients of the last one. Its state never leaves.
    """

    rounds: int = 20
    local_steps: int = 10
    proximal: float = 0.0
    personal: tuple[str, ...] = ()
    grouped: tuple[str, ...] = ()
    groups_count: Literal["trials", "equal"] = "trials"
    moments: Literal["kept", "fresh"] = "kept"

    def __post_init__(self) -> None:
        object.__setattr__(self, "personal", tuple(self.personal))
        object.__setattr__(self, "grouped", tuple(self.grouped))
        checks.at_least("rounds", self.rounds, 1)
        checks.at_least("local_steps", self.local_steps, 1)
        checks.at_least("proximal", self.proximal, 0.0)
        checks.one_of("groups_count", self.groups_count, ("trials", "equal"))
        checks.one_of("moments", self.moments, ("kept", "fresh"))

    def level(self, name: str) -> Level:
        """Over what a parameter of the trunk is averaged."""
        if name.startswith(self.personal):
            return "site"
        return "group" if name.startswith(self.grouped) else "whole"

    def shared(self, names: Sequence[str]) -> list[str]:
        """Those of the trunk's parameters that leave a site.

        Raises
        ------
        ConfigError
            If a beginning fits no parameter, or nothing is left to share.
        """
        for setting in ("personal", "grouped"):
            for start in getattr(self, setting):
                if not any(name.startswith(start) for name in names):
                    raise checks.ConfigError(
                        f"{setting} names {start!r}, with which no parameter of the trunk begins; there are "
                        f"{sorted({n.partition('.')[0] + '.' for n in names})}."
                    )
        left = [name for name in names if self.level(name) != "site"]
        if not left:
            raise checks.ConfigError(
                f"personal={list(self.personal)} leaves nothing of the trunk to share; name less."
            )
        return left

    @property
    def hash(self) -> str:
        """Of these settings: sites with others do not take part."""
        return store.content_hash(federated=config.to_json(self))


@dataclass(frozen=True, eq=False)
class Update:
    """All that leaves a site after a round.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Parameters of the trunk, by their names in the backbone.
    n_trials : int
        Training trials of the site.
    """

    tensors: Weights
    n_trials: int

    @property
    def n_bytes(self) -> int:
        """Of the tensors' values."""
        return bytes_of(self.tensors)


class Exchange(Protocol):
    """A site as the server sees it: what is between them is a function call, a folder, or whatever has these two."""

    def tell(self, number: int, weights: Weights) -> None:
        """Hands over the weights that a round starts from, and does not wait; after the last round, the final ones."""

    def answer(self, number: int) -> Update:
        """Waits for what the site has made of them."""


@dataclass(frozen=True)
class Sent:
    """What went between the server and one site in a round, in bytes of values, and how many trials were named."""

    round: int
    site: str
    bytes_up: int
    bytes_down: int
    n_trials: int


@dataclass(frozen=True, eq=False)
class Federation:
    """How it ended.

    Parameters
    ----------
    weights : mapping of str to mapping of str to Tensor
        By group, the trunk that its sites get; equal but for layers that are averaged within groups.
    names : tuple of str
        Of the tensors that left the sites, the same in every round.
    sent : tuple of Sent
    moved : tuple of float
        By round, root mean square of the trunk's change.
    """

    weights: Mapping[str, Weights]
    names: tuple[str, ...]
    sent: tuple[Sent, ...] = ()
    moved: tuple[float, ...] = ()


def first_weights(
    recipe: Any, shared_shape: tuple[int, ...], outputs: Mapping[str, EmbeddingsInfo]
) -> dict[str, Tensor]:
    """The trunk's first weights as the recipe's seed draws them: what a server needs that holds no data.

    Parameters
    ----------
    recipe : Recipe or Settings
    shared_shape : tuple of int
        What the recipe's adapters end in, e.g. ``(192,)``.
    outputs : mapping of str to EmbeddingsInfo
    """
    settings = settings_of(recipe)
    build = registry.load(*registry.name_of(settings.backbone)).build
    with seeding.seeded(settings.seed, "backbone"):
        backbone = build(
            shared_shape, {name: info.shape for name, info in outputs.items()}, settings.backbone
        )
    return {name: p.detach().clone() for name, p in backbone.named_parameters()}


def federate(
    sites: Mapping[str, Exchange],
    first: Weights,
    settings: Config,
    *,
    groups: Mapping[str, str] | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> Federation:
    """All rounds: weights go to every site, updates come back and are averaged.

    Parameters
    ----------
    sites : mapping of str to Exchange
        By a name that the server gives them.
    first : mapping of str to Tensor
        The trunk's parameters (`first_weights`); those that are personal do not travel.
    settings : Config
    groups : mapping of str to str, optional
        By site, its group; one group of all by default.
    folder : Path, optional
        Where the averages are kept after each round; a federation that was stopped goes on from there.
    progress : bool

    Raises
    ------
    ValueError
        If a site answers with other tensors than were asked for, with values that are not finite, or without trials.
    """
    checks.at_least("number of sites", len(sites), 1)
    member = dict.fromkeys(sites, ALL) if groups is None else dict(groups)
    if set(member) != set(sites):
        raise checks.ConfigError(f"groups names the sites {sorted(member)}, there are {sorted(sites)}.")
    start = {name: first[name].detach().cpu() for name in settings.shared(list(first))}
    known = store.content_hash(
        settings=settings.hash, groups=member, **{f"first/{n}": t.numpy() for n, t in start.items()}
    )
    weights: dict[str, dict[str, Tensor]] = {group: dict(start) for group in member.values()}
    sent: list[Sent] = []
    moved: list[float] = []
    done = 0
    if folder is not None:
        checkpoints.sweep(folder, NAME)
        saved = checkpoints.newest(folder, NAME, known)
        if saved is not None:
            weights, moved, done = saved["weights"], saved["moved"], saved["step"]
            sent = [Sent(*row) for row in saved["sent"]]
    bar = tqdm(
        range(done, settings.rounds), initial=done, total=settings.rounds, desc="rounds", leave=False,
        disable=not progress,
    )  # fmt: skip
    for number in bar:
        for name, site in sites.items():
            site.tell(number, weights[member[name]])
        updates = {name: checked(name, site.answer(number), start) for name, site in sites.items()}
        for name, update in updates.items():
            down = bytes_of(weights[member[name]])
            sent.append(Sent(number, name, update.n_bytes, down, update.n_trials))
        before, weights = weights, average(updates, member, settings)
        moved.append(_distance(before, weights))
        bar.set_postfix({"moved": f"{moved[-1]:.2e}"})
        if folder is not None:
            rows = [(s.round, s.site, s.bytes_up, s.bytes_down, s.n_trials) for s in sent]
            checkpoints.keep(
                folder, NAME, known, number + 1, {"weights": weights, "moved": moved, "sent": rows}
            )
    for name, site in sites.items():
        site.tell(settings.rounds, weights[member[name]])
    return Federation(weights, tuple(start), tuple(sent), tuple(moved))


def average(
    updates: Mapping[str, Update], groups: Mapping[str, str], settings: Config
) -> dict[str, dict[str, Tensor]]:
    """The sites' tensors averaged inside each group by trials, then over groups; by group.

    Sums are made in double precision: one site alone gets its own weights back to the bit.
    """
    members: dict[str, list[Update]] = {}
    for name, update in updates.items():
        members.setdefault(groups[name], []).append(update)
    counts = {group: [u.n_trials for u in some] for group, some in members.items()}
    totals = [float(sum(own)) if settings.groups_count == "trials" else 1.0 for own in counts.values()]
    out: dict[str, dict[str, Tensor]] = {group: {} for group in members}
    for name, like in next(iter(updates.values())).tensors.items():
        inside = {
            g: _mean([u.tensors[name].double() for u in some], counts[g]) for g, some in members.items()
        }
        whole = _mean(list(inside.values()), totals)
        for group, own in inside.items():
            out[group][name] = (own if settings.level(name) == "group" else whole).to(like.dtype)
    return out


def checked(site: str, update: Update, like: Weights) -> Update:
    """The update, where it is what was asked for."""
    refuse_others(f"the update of {site!r}", update.tensors, like)
    for name, tensor in update.tensors.items():
        checks.finite(
            f"{name} in the update of {site!r}",
            tensor.numpy(),
            way_out="Lower train.lr, or look at the site's data.",
        )
    checks.at_least(f"trials of {site!r}", update.n_trials, 1)
    return update


def refuse_others(what: str, found: Weights, wanted: Weights) -> None:
    """Refuses tensors of other names, shapes or kinds than the trunk's, and says which.

    Raises
    ------
    ValueError
    """
    lines = [f"{n} is missing" for n in sorted(wanted.keys() - found.keys())]
    lines += [f"{n} is unexpected" for n in sorted(found.keys() - wanted.keys())]
    for name in sorted(found.keys() & wanted.keys()):
        one, other = found[name], wanted[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            lines.append(f"{name} is {tuple(one.shape)} {one.dtype}, not {tuple(other.shape)} {other.dtype}")
    if lines:
        raise ValueError(
            f"{what} is not of this trunk: {'; '.join(lines[:6])}. Use one recipe and one `Config` everywhere."
        )


def bytes_of(weights: Weights) -> int:
    """Of the tensors' values."""
    return sum(t.numel() * t.element_size() for t in weights.values())


def _mean(tensors: Sequence[Tensor], counts: Sequence[float]) -> Tensor:
    return torch.stack([n * t for n, t in zip(counts, tensors, strict=True)]).sum(0) / sum(counts)


def _distance(before: Mapping[str, Weights], after: Mapping[str, Weights]) -> float:
    squares = [(after[g][n] - t).double().square() for g, own in before.items() for n, t in own.items()]
    return float((sum(s.sum() for s in squares) / sum(s.numel() for s in squares)) ** 0.5)
