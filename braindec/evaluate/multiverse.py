"""All the ways a recipe could have been analysed: every declared fork run, and how much the choice moves the score."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, splits
from braindec.decoder import steps_for
from braindec.decoder.fitting import identification_score
from braindec.evaluate.candidate_pools import OF_PROTOCOL, means, measured_among
from braindec.evaluate.exam import Exam, row_labels
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.scoring import Judged, check_scopes, compare, judge
from braindec.evaluate.systems import Fitter, RidgeFitter, decoder_fitter, signal_features
from braindec.types import Embeddings

Forks = Mapping[str, Sequence[str]]
PENALTIES: dict[str, Mapping[str, Any]] = {
    "told apart": {"score": identification_score},
    "least error": {"score": "neg_mse"},
    "fixed at 1": {"alphas": (1.0,)},
}
SYSTEMS = ("ridge", "braindec")
PENALTY, CANDIDATES = "penalty", "candidates"  # forks that are no matter of the recipe's settings


@dataclass(frozen=True, eq=False)
class Universe:
    """One way of analysing.

    Parameters
    ----------
    choices : mapping of str to str
        Fork -> what was chosen.
    system : str
    key : str
        Subject and modality.
    measured : Measured or None
        None where the protocol refuses these choices.
    refused : str
        Why.
    """

    choices: Mapping[str, str]
    system: str
    key: str
    measured: Measured | None
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Multiverse:
    """Every universe of a recipe, its own choices among them, and the difference of the systems there.

    Parameters
    ----------
    metric : str
    forks : Forks
    own : mapping of str to str
        The recipe's own choices.
    universes : tuple of Universe
    between : tuple of dict
        Paired difference braindec - ridge at the recipe's own choices, a row a subject (see `compare`); empty where
        only one system was run.
    """

    metric: str
    forks: Forks
    own: Mapping[str, str]
    universes: tuple[Universe, ...]
    between: tuple[dict[str, Any], ...]

    def of(self, system: str, key: str) -> list[Universe]:
        """Those that were judged, of one system and subject."""
        return [u for u in self.universes if (u.system, u.key) == (system, key) and u.measured is not None]

    def summary(self) -> list[dict[str, Any]]:
        """A row a system and subject: the spread of the score, where the recipe's own choices stand, what matters."""
        pairs = dict.fromkeys((u.system, u.key) for u in self.universes if u.measured is not None)
        return [self._row(system, key) for system, key in pairs]

    def _row(self, system: str, key: str) -> dict[str, Any]:
        found = self.of(system, key)
        values = np.array([_of(u).value for u in found])
        own = next((_of(u) for u in found if dict(u.choices) == dict(self.own)), None)
        above = np.mean([_of(u).interval[0] > _of(u).chance for u in found])
        n_refused = sum(u.measured is None and (u.system, u.key) == (system, key) for u in self.universes)
        return {
            "system": system, "key": key, "metric": self.metric, "n_universes": len(found), "n_refused": n_refused,
            "min": float(values.min()), "median": float(np.median(values)), "max": float(values.max()),
            "own": None if own is None else own.value,
            "own_rank": None if own is None else int((values > own.value).sum() + 1),
            "interval_above_chance": float(above),
            "explained": explained([u.choices for u in found], values, self.forks),
        }  # fmt: skip


def explained(choices: Sequence[Mapping[str, str]], values: np.ndarray, forks: Forks) -> dict[str, float]:
    """Share of the variance over universes that each fork's main effect explains; the rest is their interplay.

    Parameters
    ----------
    choices : sequence of mapping
        Of each universe.
    values : array, shape (n_universes,)
    """
    total = float(((values - values.mean()) ** 2).sum())
    out = {}
    for fork in forks:
        names = np.array([c[fork] for c in choices])
        groups = [values[names == name] for name in np.unique(names)]
        between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups)
        out[fork] = float(between / total) if total > 0 else 0.0
    return out


def multiverse(
    recipe: Any,
    fork: Callable[..., Any],
    forks: Forks,
    data_dir: str | Path,
    *,
    folds: Callable[[Any, NeuralDataset], Sequence[Split]] | None = None,
    metric: str | None = None,
    system: str = "ridge",
    between: bool = True,
    progress: bool = True,
) -> Multiverse:
    """Runs every combination of a recipe's forks with what can be shared computed once.

    Parameters
    ----------
    recipe : Recipe
    fork : callable
        ``fork(recipe, **{name: choice}) -> Recipe``. Two forks are not passed on: ``"penalty"`` says how ridge's
        penalty is chosen, one of `PENALTIES`; ``"candidates"`` among what a decoded trial is identified, one of
        `candidate_pools.OPTIONS`: nothing is fitted again for it.
    forks : mapping of str to sequence of str
        Each fork's options; the first one is the recipe's own choice.
    data_dir : path
        The prepared dataset.
    folds : callable, optional
        ``folds(recipe, dataset)``; by default what the protocol holds out (`folds_of`).
    metric : str, optional
        The protocol's first, by default.
    system : str
        ``"ridge"`` or ``"braindec"``: what is run in every universe.
    between : bool
        Fit the other system too, at the recipe's own choices: is the difference between systems larger than what the
        choices move?

    Returns
    -------
    Multiverse

    Notes
    -----
    Nothing is chosen from its outcome: it says how far a score depends on choices that a paper would not dwell on.
    Steegen et al. 2016, doi:10.1177/1745691616658637; specification curve: Simonsohn et al. 2020,
    doi:10.1038/s41562-020-0912-z.
    """
    checks.one_of("system", system, SYSTEMS)
    empty = [name for name, options in forks.items() if not options]
    if not forks or empty:
        raise checks.ConfigError(f"forks must name one option or more each, got {dict(forks)}.")
    if system == "braindec" and PENALTY in forks:
        forks = {name: options for name, options in forks.items() if name != PENALTY}  # ridge's fork alone
    own = {name: options[0] for name, options in forks.items()}
    known = protocol_named(recipe.protocol).metrics
    metric = known[0] if metric is None else checks.one_of("metric", metric, known)
    pools = _pools(forks, metric)
    if CANDIDATES in forks:
        forks = {**forks, CANDIDATES: pools}
    shared = _Shared(Path(data_dir), folds or folds_of)
    judged: dict[str, Judged] = {}
    universes: list[Universe] = []
    fitted = {name: options for name, options in forks.items() if name != CANDIDATES}
    combinations = [dict(zip(fitted, values, strict=True)) for values in itertools.product(*fitted.values())]
    for choices in tqdm(combinations, desc="universes", disable=not progress, leave=False):
        chosen = fork(recipe, **{name: value for name, value in choices.items() if name != PENALTY})
        found = shared.run(system, chosen, choices.get(PENALTY, "told apart"))
        for option in pools:
            among = {**choices, CANDIDATES: option} if CANDIDATES in forks else choices
            if isinstance(found, str):
                universes += [Universe(among, system, key, None, found) for key in shared.keys(chosen)]
                continue
            measured = shared.measured(found, option, metric, chosen)
            universes += [Universe(among, system, key, m) for key, m in measured.items()]
        if not isinstance(found, str) and choices == {name: own[name] for name in fitted}:
            judged[system] = found
    differences = []
    if between and system in judged:
        other = SYSTEMS[1 - SYSTEMS.index(system)]
        alike = {k: v for k, v in own.items() if k not in (PENALTY, CANDIDATES)}
        second = shared.run(other, fork(recipe, **alike), "told apart")
        if not isinstance(second, str):
            judged[other] = second
            differences = compare(judged["braindec"], judged["ridge"], metric, recipe.seed)
    return Multiverse(metric, forks, own, tuple(universes), tuple(differences))


def _pools(forks: Forks, metric: str) -> tuple[str, ...]:
    """The candidates that are declared and mean something for a metric; the recipe's own are the protocol's."""
    options = tuple(forks.get(CANDIDATES, (OF_PROTOCOL,)))
    if options[0] != OF_PROTOCOL:
        raise checks.ConfigError(f"the first of the candidates must be {OF_PROTOCOL!r}, got {options[0]!r}.")
    return tuple(option for option in options if means(option, metric))


def folds_of(recipe: Any, dataset: NeuralDataset) -> Sequence[Split]:
    """The folds of a recipe: named in its settings, else one a unit that its protocol holds out, else the dataset's."""
    named = recipe.settings.get("folds")
    if named is not None:
        return splits.named(dataset, named)
    unit = protocol_named(recipe.protocol).unit
    if unit in ("run", "session", "subject"):
        return splits.leave_one_out(dataset, unit)
    if dataset.split is None:
        raise ValueError(f"dataset {dataset.name!r} has no split in use; give one with with_split(...).")
    return [dataset.split]


class _Shared:
    """Datasets, embeddings, folds and ridge's factors that many universes have in common."""

    def __init__(self, data_dir: Path, folds: Callable[[Any, NeuralDataset], Sequence[Split]]):
        self.data_dir, self.folds = data_dir, folds
        self.read: dict[str, NeuralDataset] = {}
        self.embedded: dict[str, Embeddings] = {}
        self.fitters: dict[str, RidgeFitter] = {}

    def dataset(self, recipe: Any) -> NeuralDataset:
        name = repr(recipe.data)
        if name not in self.read:
            self.read[name] = recipe.data.read(self.data_dir)
        return self.read[name]

    def keys(self, recipe: Any) -> tuple[str, ...]:
        return tuple(self.dataset(recipe).keys)

    def run(self, system: str, recipe: Any, penalty: str) -> Judged | str:
        """What a system makes of one universe, or why the protocol refuses it."""
        dataset, protocol = self.dataset(recipe), protocol_named(recipe.protocol)
        try:
            for trials in dataset.trials.values():
                check_scopes(protocol, steps_for(recipe.preprocessing, trials.modality))
        except checks.LeakageError as error:
            return str(error)
        name = f"{recipe.data!r} {recipe.target!r}"
        if name not in self.embedded:
            self.embedded[name] = recipe.embed(dataset, self.data_dir, progress=False)
        exam = Exam(
            dataset, self.embedded[name], self.folds(recipe, dataset), protocol, recipe.seed, recipe.label_column,
            progress=False,
        )  # fmt: skip
        return judge(system, self._fitter(system, recipe, penalty), exam, 0)

    def measured(self, judged: Judged, option: str, metric: str, recipe: Any) -> dict[str, Measured]:
        """A metric of what was judged, among other candidates; by signal key."""
        if option == OF_PROTOCOL:
            return {key: found[metric] for key, found in judged.measured.items()}
        labels = row_labels(judged.decoded, self.dataset(recipe), recipe.label_column)
        protocol = protocol_named(recipe.protocol)
        draw = seeding.numpy_generator(recipe.seed, "intervals", judged.system, option)
        return {
            key: measured_among(option, metric, decoded, protocol, labels[key], draw)
            for key, decoded in judged.decoded.items()
        }

    def _fitter(self, system: str, recipe: Any, penalty: str) -> Fitter:
        if system == "braindec":
            return decoder_fitter(recipe)
        checks.one_of("penalty", penalty, tuple(PENALTIES))
        rules = PENALTIES[penalty]
        steps = repr(recipe.preprocessing)
        if steps not in self.fitters:  # the factors of one signal serve every rule of its penalty
            self.fitters[steps] = RidgeFitter(signal_features(recipe.preprocessing))
        known = self.fitters[steps]
        return RidgeFitter(known.features, **rules, _kept=known._kept)


def _of(universe: Universe) -> Measured:
    if universe.measured is None:
        raise ValueError("a refused universe has no value.")
    return universe.measured


def panel(found: Multiverse, system: str, key: str) -> tuple[str, str, dict[str, Any]]:
    """The specification curve of one system and subject."""
    universes = sorted(found.of(system, key), key=lambda u: _of(u).value)
    values = [_of(u) for u in universes]
    difference = next((r for r in found.between if r["key"] == key), None)
    said = ""
    if difference is not None:
        low, high = difference["interval"]
        said = (
            f" Between systems, at the recipe's own choices: braindec - ridge {difference['difference']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}]."
        )
    spread = values[-1].value - values[0].value
    if len({m.chance for m in values}) > 1:
        said += " Chance changes with the candidates, and stands at each."
    payload = {
        "values": np.array([m.value for m in values]),
        "intervals": np.array([m.interval for m in values]),
        "chance": np.array([m.chance for m in values]),
        "own": next((i for i, u in enumerate(universes) if dict(u.choices) == dict(found.own)), -1),
        "choices": {name: [u.choices[name] for u in universes] for name in found.forks},
        "options": {name: list(options) for name, options in found.forks.items()},
        "between": None if difference is None else [difference["difference"], *difference["interval"]],
        "between_name": "braindec − ridge",
        "ylabel": found.metric.replace("roc_auc", "ROC AUC").replace("_", " "),
        "section": "scores",
        "caption": f"{len(values)} ways to analyse the same recordings, spanning {spread:.3f}; the recipe's own is "
        f"marked.{said}",
    }
    return f"Specification curve: {system}, {key.replace('_', ' ')}", "specification", payload


def table(found: Multiverse) -> tuple[str, str, dict[str, Any]]:
    """How much each fork moves the score."""
    rows, said = [], []
    for r in found.summary():
        top = ", ".join(f"{n} {v:.0%}" for n, v in sorted(r["explained"].items(), key=lambda e: -e[1]))
        said.append(f"{r['system']}, {r['key'].replace('_', ' ')}: {top}.")
        own = "" if r["own"] is None else f"{r['own']:.3f} (rank {r['own_rank']})"
        rows.append(
            [r["system"], r["key"].replace("_", " "), str(r["n_universes"]), str(r["n_refused"]), f"{r['min']:.3f}",
             f"{r['median']:.3f}", f"{r['max']:.3f}", own, f"{r['interval_above_chance']:.0%}"]
        )  # fmt: skip
    columns = [
        "system",
        "subject",
        "universes",
        "refused",
        "min",
        "median",
        "max",
        "the recipe's own",
        "above chance",
    ]
    caption = "Share of the variance over universes that each choice alone explains. " + " ".join(said)
    payload = {"columns": columns, "rows": rows, "caption": caption, "section": "headline"}
    return "What the choices move", "table", payload
