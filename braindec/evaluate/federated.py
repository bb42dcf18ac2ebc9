"""What sites gain by training a trunk together without sharing recordings: judged on held-out trials of every site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks, config, seeding
from braindec.data import NeuralDataset, spaces
from braindec.data.rows import RowsView
from braindec.decoder import BrainDecoder, Direction, Prediction, Repeats, Settings, settings_of
from braindec.decoder.federated import Config
from braindec.decoder.site import Fitted, fit_sites
from braindec.evaluate.audit import audited
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.jobs import refits
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.panels import Panel
from braindec.evaluate.scoring import Judged, compare, judge, scores_of
from braindec.evaluate.systems import Fitter, RidgeFitter, System, signal_features
from braindec.evaluate.whole import Evaluation
from braindec.stats.paired import paired_difference
from braindec.types import Embeddings

# System of a score -> what it is here.
NAMES = {
    "braindec": "federated",
    "contender": "all recordings in one place",
    "scratch": "each site alone",
    "adapted": "federated, one trunk for all groups",
    "ridge": "ridge of each person's own",
    "shuffled": "federated, shuffled stimuli",
}
RIVALS = ("contender", "scratch", "adapted", "ridge")


@dataclass(frozen=True)
class SiteSettings:
    """Who is at a site, and with which device.

    Parameters
    ----------
    subjects : tuple of int
    group : str
        Of sites whose `federated.Config.grouped` layers are averaged together.
    every : int
        Of the channels (or voxels) that were recorded, every so manieth is kept: another device.
    """

    subjects: tuple[int, ...]
    group: str = "all"
    every: int = 1

    def __post_init__(self) -> None:
        checks.at_least("subjects of a site", len(self.subjects), 1)
        checks.at_least("every", self.every, 1)


Sites = Mapping[str, SiteSettings]


@dataclass(frozen=True, eq=False)
class Together:
    """Sites' decoders as one system: each trial goes to the decoder of its own site."""

    decoders: Mapping[str, BrainDecoder]

    def of(self, key: str) -> BrainDecoder:
        """The decoder that knows a signal."""
        known = {k: d for d in self.decoders.values() for k in d.preprocessing}
        found: BrainDecoder = checks.known_key("signal", key, known)
        return found

    def predict(self, trials: Any, *, repeats: Repeats) -> Prediction:
        """By the site's decoder."""
        return self.of(trials.key).predict(trials, repeats=repeats)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """By the site's decoder."""
        return self.of(prediction.key).similarity(prediction, candidates, direction)


def sites_of(told: Mapping[str, Any]) -> dict[str, SiteSettings]:
    """A recipe's sites by name, from what its settings say of each (fields of `SiteSettings`).

    Raises
    ------
    ValueError
        If a subject is at two sites.
    """
    found = {
        name: one
        if isinstance(one, SiteSettings)
        else config.from_json(SiteSettings, dict(one), f"sites.{name}")
        for name, one in told.items()
    }
    checks.unique("subjects of all sites", [s for one in found.values() for s in one.subjects])
    return found


def with_devices(dataset: NeuralDataset, sites: Sites) -> NeuralDataset:
    """The sites' people alone, each with the channels that its site's device has."""
    trials = {}
    for key, t in dataset.trials.items():
        site = next((one for one in sites.values() if t.subject in one.subjects), None)
        if site is None:
            continue
        if site.every > 1:
            kept = np.arange(t.space.n_features) % site.every == 0
            view = RowsView(t.responses, np.arange(t.n_trials), kept)
            t = replace(t, responses=view, space=spaces.restrict(t.space, kept))
        trials[key] = t
    return replace(dataset, trials=trials)


def parts_of(part: NeuralDataset, sites: Sites) -> dict[str, NeuralDataset]:
    """Each site's own dataset.

    Raises
    ------
    ValueError
        If a site's people are not there.
    """
    return {
        name: replace(part, trials={k: t for k, t in part.trials.items() if t.subject in one.subjects})
        for name, one in sites.items()
    }


def federated_study(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    told: Config,
    sites: Sites,
    metrics: Sequence[str],
    *,
    out_dir: Path | None = None,
) -> tuple[Evaluation, Fitted]:
    """Judges a federation beside all recordings in one place, each site alone, one trunk for all, and ridge.

    Every system makes as many steps; the pooled one sees as many trials of each person in a step as the site with the
    most people does. The null exchanges the stimuli of every person's training trials, and the whole federation is run
    again. What has no place here: one adapter for all sites, for their channels differ.

    Parameters
    ----------
    recipe : Recipe
        Its preprocessing is the ridge's too.
    dataset : NeuralDataset
        `with_devices`, with the split in use.
    embeddings : Embeddings
        Of all stimuli; a site is told those of its own training stimuli alone.
    told : federated.Config
    sites : mapping of str to SiteSettings
    metrics : sequence of str
        Of the protocol, for the paired differences.
    out_dir : path, optional
        Where the federation's checkpoints go.

    Returns
    -------
    tuple of (Evaluation, Fitted)
        `record` holds ``exchange``: bytes, tensors and counts that went between sites and server.
    """
    plan, protocol = recipe.plan, protocol_named(recipe.protocol)
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    audit = audited(recipe, dataset, embeddings, [dataset.split])
    exam = Exam(in_memory(dataset), embeddings, [dataset.split], protocol, recipe.seed, n_jobs=plan.n_jobs,
                progress=plan.progress)  # fmt: skip
    settings, groups = settings_of(recipe), {name: one.group for name, one in sites.items()}
    made: list[Fitted] = []

    def federated(part: NeuralDataset, how: Config = told, folder: Path | None = None) -> Together:
        found = _fitted(
            settings, parts_of(part, sites), embeddings, how, groups, folder, progress=plan.progress
        )
        made.append(found)
        return Together(found.decoders)

    def pooled(part: NeuralDataset) -> Together:
        n = len(part.trials) / max(len(one.subjects) for one in sites.values())
        more = replace(
            settings, train=replace(settings.train, batch_size=round(settings.train.batch_size * n))
        )
        one_place = replace(told, personal=(), grouped=(), proximal=0.0)
        return Together(_fitted(more, {"pooled": part}, embeddings, one_place).decoders)

    def alone(part: NeuralDataset) -> Together:
        own = replace(told, proximal=0.0)
        decoders = {
            name: _fitted(settings, {name: one}, embeddings, own).decoders[name]
            for name, one in parts_of(part, sites).items()
        }
        return Together(decoders)

    def shuffled(number: int) -> Together:
        draw = seeding.numpy_generator(recipe.seed, "null", number)
        return federated(permuted(exam.dataset.part("train"), draw, protocol))

    ours = federated(exam.dataset.part("train"), folder=out_dir)
    nulls = refits(
        shuffled, max(1, plan.n_null), n_jobs=plan.n_jobs, said="shuffled federations", progress=plan.progress
    )
    flat = replace(told, personal=(), grouped=(), groups_count="trials")
    fits: dict[str, Fitter] = {"braindec": _always(ours), "contender": _by(pooled), "scratch": _by(alone)}
    if flat != told:
        fits["adapted"] = _by(lambda part: federated(part, flat))
    fits["ridge"] = RidgeFitter(signal_features(recipe.preprocessing))
    fits["shuffled"] = _always(nulls[0])
    judged = {
        name: judge(name, fit, exam, len(nulls) if name == "braindec" else 0, nulls)
        for name, fit in fits.items()
    }
    null = judged["braindec"].null
    scores = [s for j in judged.values() for s in scores_of(j, protocol, null=null)]
    found = made[0]
    record = {"audit": audit.to_json(), "exchange": exchange(found, sites), "federated": config.to_json(told),
              "systems": {name: NAMES[name] for name in fits}}  # fmt: skip
    return Evaluation(
        tuple(scores), judged, tuple(_compared(judged, sites, metrics, recipe.seed)), record
    ), found


def exchange(found: Fitted, sites: Sites) -> dict[str, Any]:
    """What went between sites and server, as JSON: bytes, names of tensors, counts; and how much stayed."""
    federation = found.federation
    rows = {}
    for name, decoder in found.decoders.items():
        own = [s for s in federation.sent if s.site == name]
        sent = set(federation.names)
        weights = decoder.fitted_encoder().named_parameters()
        stays = sum(p.numel() for n, p in weights if n.removeprefix("backbone.") not in sent)
        rows[name] = {
            "group": sites[name].group, "subjects": list(sites[name].subjects), "n_trials": own[0].n_trials,
            "channels": [f.source.space.n_features for f in decoder.preprocessing.values()],
            "bytes_up": sum(s.bytes_up for s in own), "bytes_down": sum(s.bytes_down for s in own),
            "weights_that_stay": stays,
        }  # fmt: skip
    return {"sites": rows, "tensors": list(federation.names), "rounds": len(federation.moved),
            "moved": list(federation.moved)}  # fmt: skip


def exchange_panels(found: Evaluation) -> list[Panel]:
    """A table of what was sent, and how far the trunk still moved."""
    told = found.record["exchange"]
    columns = [
        "site",
        "group",
        "people",
        "channels",
        "training trials",
        "sent (MB)",
        "received (MB)",
        "weights that stay",
    ]
    rows = [
        [name, one["group"], ", ".join(map(str, one["subjects"])), ", ".join(map(str, one["channels"])),
         str(one["n_trials"]), f"{one['bytes_up'] / 1e6:.2f}", f"{one['bytes_down'] / 1e6:.2f}",
         f"{one['weights_that_stay']:,}"]
        for name, one in told["sites"].items()
    ]  # fmt: skip
    caption = (
        f"Over {told['rounds']} rounds, {len(told['tensors'])} tensors of the trunk each time, and a number of trials. "
        "Adapters, preprocessing, signals and embeddings stay. Weights still tell of the data they were trained on: "
        "nothing is encrypted or noised here."
    )
    table: Panel = ("What left the sites", "table", {"columns": columns, "rows": rows, "caption": caption})
    moved = {
        "step": np.arange(1, len(told["moved"]) + 1), "series": {"averaged trunk": np.array(told["moved"])},
        "xlabel": "round", "ylabel": "root mean square change", "section": "training",
        "caption": "How far the average moved in each round.",
    }  # fmt: skip
    return [table, ("Rounds", "curve", moved)]


def _fitted(
    settings: Settings, parts: Mapping[str, NeuralDataset], embeddings: Embeddings, told: Config,
    groups: Mapping[str, str] | None = None, folder: Path | None = None, *, progress: bool = False,
) -> Fitted:  # fmt: skip
    """A federation in which a site is told the embeddings of its own stimuli alone."""
    own = {
        name: replace(embeddings, ids=part.stimulus_ids, values=embeddings.of(part.stimulus_ids))
        for name, part in parts.items()
    }
    return fit_sites(settings, parts, own, told, groups=groups, folder=folder, progress=progress)


def _compared(
    judged: Mapping[str, Judged], sites: Sites, metrics: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """The federation minus each other system on the same queries: by person, and over all sites by stimulus."""
    rows = []
    for other in RIVALS:
        if other not in judged:
            continue
        named = {"a": NAMES["braindec"], "b": NAMES[other]}
        for metric in metrics:
            for row in compare(judged["braindec"], judged[other], metric, seed):
                rows.append(row | named | {"key": f"{_site_of(row['key'], sites)}: {row['key']}"})
            rows.append(_over_all(judged["braindec"], judged[other], metric, seed) | named)
    return rows


def _over_all(a: Judged, b: Judged, metric: str, seed: int) -> dict[str, Any]:
    """Paired over the queries of all people; a stimulus that several of them saw is one unit."""
    keys = sorted(a.measured)
    first, second = (np.concatenate([one.measured[k][metric].per_sample for k in keys]) for one in (a, b))
    units = np.array([i for k in keys for i in a.decoded[k].ids])
    found = paired_difference(
        first, second, seeding.numpy_generator(seed, "all sites", metric, b.system), units=units
    )
    interval = [float(found.interval.low), float(found.interval.high)]
    return {"metric": metric, "key": "all sites", "difference": found.value, "interval": interval, "p": found.p,
            "n": found.n}  # fmt: skip


def _site_of(key: str, sites: Sites) -> str:
    subject = int(key.removeprefix("sub-").partition("_")[0])
    return next(name for name, one in sites.items() if subject in one.subjects)


def _by(make: Callable[[NeuralDataset], System]) -> Fitter:
    return lambda part, embeddings, seed: make(part)


def _always(system: System) -> Fitter:
    return lambda part, embeddings, seed: system
