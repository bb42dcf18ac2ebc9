"""Recipes: one experiment as one Python object, found by name, overridden by path, run, and recorded."""

from __future__ import annotations

import contextlib
import runpy
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from braindec import checks, config, registry, store
from braindec.data import NeuralDataset, catalogue
from braindec.data.preprocessing import steps_from
from braindec.decoder import versions
from braindec.decoder.cycle import Config as CycleConfig
from braindec.decoder.settings import PRIOR_TRAIN, TRAIN
from braindec.evaluate import Plan
from braindec.headers import folder, names, read
from braindec.ranks import Ranks
from braindec.targets._embedding import embed
from braindec.train import Config as TrainConfig
from braindec.types import Embeddings, Report

NO_DATA = "none"  # dataset of a recipe that makes all that it looks at


@dataclass(frozen=True)
class NeuralData:
    """Which part of which prepared dataset is read; the dataset ``"none"`` of a recipe that reads nothing."""

    dataset: str
    subjects: tuple[int, ...] | None = None
    modalities: tuple[str, ...] | None = None
    region: str | None = None
    split: str | None = None

    def read(self, folder: str | Path) -> NeuralDataset:
        """The dataset prepared in a folder; responses stay on disk."""
        found = NeuralDataset.read(
            folder, subjects=self.subjects, modalities=self.modalities, region=self.region, split=self.split
        )
        if found.name != self.dataset:
            raise checks.ConfigError(
                f"{folder} holds the dataset {found.name!r}, this recipe reads {self.dataset!r}. "
                f"Prepare it with: braindec prepare {self.dataset} --raw DIR --out DIR; or decode {found.name!r} by a "
                f"recipe of your own: copy this one to mine.py, write NeuralData({found.name!r}) and its target there, "
                f"and: braindec run ./mine.py --data {folder} --out DIR"
            )
        return found


PLAN = Plan()


@dataclass(frozen=True)
class Recipe:
    """One experiment: data, target, model, training, evaluation, seed.

    Parameters
    ----------
    data : NeuralData
    target, adapter, backbone, loss, prior, generator : a component's Config
        `adapter` may be a dict by modality; a recipe that fits no decoder names neither adapter, backbone nor loss.
    preprocessing : tuple of steps, or dict of such by modality
        A step may be written as JSON: ``--set 'preprocessing=["Standardise", {"name": "Pca", "n_components": 20}]'``.
    train, prior_train : train.Config
    prior_samples, prior_told, n_folds, calibrate, cycle, fit
        As in `decoder.Settings`.
    protocol : str
    plan : evaluate.Plan
        How often everything is refitted under a permuted pairing.
    label_column : str, optional
        Column with each trial's (or stimulus') class.
    targets : dict of str to a target's Config
        Further outputs by name; `target` is the one called ``main``, and `loss` then a dict by name.
    settings : dict
        Numbers of the recipe's own. ``"world"`` names the simulated world that is made where no data are given;
        ``"synthetic"`` and ``"prepared"`` are arguments of its dataset's `synthetic` and `prepare` in a smoke run.
    seed : int
    """

    data: NeuralData
    target: Any
    protocol: str
    adapter: Any = None
    backbone: Any = None
    loss: Any = None
    prior: Any = None
    generator: Any = None
    preprocessing: Any = ()
    train: TrainConfig = TRAIN
    prior_train: TrainConfig = PRIOR_TRAIN
    prior_samples: int = 32
    prior_told: tuple[str, ...] = ()
    n_folds: int = 3
    calibrate: bool = True
    loss_weights: Any = None
    cycle: CycleConfig | None = None
    plan: Plan = PLAN
    label_column: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    fit: Literal["gradient", "closed_form"] = "gradient"
    targets: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "preprocessing", steps_from(self.preprocessing))

    def embed(
        self, dataset: NeuralDataset, data_dir: str | Path, *, everything: bool = False, progress: bool = True
    ) -> Embeddings:
        """Embeddings of stimuli in the recipe's target space, cached beside the prepared data.

        Those of the trials at hand, or `everything` in the stimulus set.
        """
        return self._embed(self.target, dataset, data_dir, everything, progress)

    def embed_each(
        self, dataset: NeuralDataset, data_dir: str | Path, *, everything: bool = False, progress: bool = True
    ) -> dict[str, Embeddings]:
        """As `embed`, by output: ``main`` and those of `targets`."""
        outputs = {"main": self.target, **self.targets}
        return {
            name: self._embed(one, dataset, data_dir, everything, progress) for name, one in outputs.items()
        }

    def _embed(
        self, chosen: Any, dataset: NeuralDataset, data_dir: str | Path, everything: bool, progress: bool
    ) -> Embeddings:
        target = registry.load(*registry.name_of(chosen)).build(chosen)
        content = dataset.about["stimuli"]["sha256"]
        cache = Path(data_dir) / "embeddings"
        ids = dataset.stimuli.ids if everything else dataset.stimulus_ids
        with Ranks.here().first_alone():
            return embed(
                target, dataset.stimuli, content=content, ids=ids, label_column=self.label_column,
                cache=cache, progress=progress,
            )  # fmt: skip

    def build_generator(self, **given: Any) -> Any:
        """The recipe's generator; `given` goes to its `build` (a gallery, where it needs one)."""
        return registry.load(*registry.name_of(self.generator)).build(self.generator, **given)


@dataclass(frozen=True)
class Loaded:
    """A recipe file: its object, its smoke overrides, its main, its header, where it is, and other ways to analyse.

    A file may declare ``FORKS`` (fork -> options, the recipe's own first) and ``fork(recipe, **choices) -> Recipe``.
    """

    name: str
    recipe: Recipe
    smoke: tuple[str, ...]
    main: Callable[[Recipe, Path, Path], Report]
    header: str
    path: Path
    forks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fork: Callable[..., Recipe] | None = None


def load(name: str | Path) -> Loaded:
    """A recipe by name, or by the path of a file.

    Raises
    ------
    ConfigError
        If there is no such recipe (with the closest name), or the file lacks RECIPE, SMOKE or main.
    """
    path = Path(name)
    if path.suffix != ".py":
        checks.one_of("recipe", str(name), names())
        path = folder() / f"{name}.py"
    found = runpy.run_path(str(checks.existing_file(path, "List the recipes with: braindec list recipes.")))
    for needed, kind in (("RECIPE", Recipe), ("SMOKE", tuple), ("main", Callable)):
        if not isinstance(found.get(needed), kind):  # type: ignore[arg-type]  # Callable works with isinstance
            raise checks.ConfigError(f"{path} must define {needed} ({getattr(kind, '__name__', kind)}).")
    forks, fork = found.get("FORKS", {}), found.get("fork")
    if bool(forks) != callable(fork):
        raise checks.ConfigError(f"{path} must define both FORKS and fork(recipe, **choices), or neither.")
    header = found.get("__doc__") or ""
    return Loaded(path.stem, found["RECIPE"], found["SMOKE"], found["main"], header, path, forks, fork)


def run(
    name: str | Path,
    data: str | Path | None,
    out: str | Path | None,
    *,
    sets: Iterable[str] = (),
    smoke: bool = False,
    made_in: str | Path | None = None,
) -> Report:
    """Runs a recipe, and writes report.json, report.html and scores.h5 into `out`.

    Under `torchrun` all processes run it, share the training steps, and the first one writes into `out`.

    Parameters
    ----------
    name : str or path
    data : path or None
        Prepared dataset. None makes the recipe's own synthetic data, where the dataset is a simulated one or in a smoke
        run.
    out : path or None
        None only in a smoke run, which then leaves nothing behind.
    sets : iterable of str
        Typed overrides, ``"train.n_steps=30"``.
    smoke : bool
        Small synthetic data and the recipe's own small settings.
    made_in : path, optional
        Where synthetic data are made, or found from before; `out` by default.
    """
    loaded, sets = load(name), list(sets)
    overrides = [*(loaded.smoke if smoke else ()), *sets]
    recipe = config.override(loaded.recipe, overrides, registry.load)
    ranks = Ranks.start()
    with tempfile.TemporaryDirectory(prefix="braindec-") as temporary:
        target = Path(out) if out is not None else _needed(smoke, Path(temporary) / "out")
        base = Path(made_in) if made_in is not None else (target if out else Path(temporary))
        if not ranks.first:
            target = Path(temporary) / "out"
        target.mkdir(parents=True, exist_ok=True)
        prepared = Path(data) if data is not None else _synthesised(recipe, base, smoke, ranks)
        started = time.time()
        report = loaded.main(recipe, prepared, target)
        record = {
            "recipe": loaded.name,
            "recipe_file": None if loaded.path.parent == folder() else str(loaded.path),
            "dataset": recipe.data.dataset,
            "protocol": recipe.protocol,
            "seed": recipe.seed,
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.time() - started, 1),
            "smoke": smoke,
            "made_data": data is None,
            "sets": list(overrides),
            "command": _command(loaded, smoke, sets),
            "config": recipe_to_json(recipe),
            "versions": versions(),
        }
        report = Report(report.scores, {**record, **report.run}, report.panels)
        from braindec import report as reporting

        reporting.write(report, target)
        ranks.wait()  # the first rank's temporary folder is read by all
    return report


def run_seeds(
    name: str | Path,
    data: str | Path | None,
    out: str | Path | None,
    n: int,
    *,
    sets: Iterable[str] = (),
    smoke: bool = False,
) -> Iterator[tuple[Path, Report]]:
    """Runs a recipe with seeds 0 to n - 1 on the same data, each into ``out/seed-<seed>``.

    Yields
    ------
    tuple of (Path, Report)
        Folder and report of each seed, as soon as it ends; `report.comparison.read_runs` reads `out` as one system.

    Raises
    ------
    ValueError
        If `n` is below 1.
    ConfigError
        If `out` is None, or `sets` names a seed too.
    """
    sets = list(sets)
    checks.at_least("seeds", n, 1)
    if out is None:
        raise checks.ConfigError("out must name a folder: every seed is a run in a folder of its own.")
    if any(one.partition("=")[0].strip() == "seed" for one in sets):
        raise checks.ConfigError("seeds counts from 0; leave out --set seed=..., or run that seed alone.")
    for seed in range(n):
        place = Path(out) / f"seed-{seed}"
        yield place, run(name, data, place, sets=[*sets, f"seed={seed}"], smoke=smoke, made_in=out)


def _command(loaded: Loaded, smoke: bool, sets: Iterable[str]) -> str:
    """How it is run, as its header says; where there is none, the work that is done is not lost for it."""
    own = loaded.path.parent == folder()
    name = loaded.name if own else loaded.path.name
    said = f"braindec run {name} " + ("--smoke" if smoke else f"--out runs/{loaded.name}")
    if own and not smoke:
        with contextlib.suppress(
            checks.DataFileError
        ):  # a recipe in the making; its test asks for the header
            said = read(loaded.path).run[-1]
    return " ".join([said, *(f"--set {shlex.quote(one)}" for one in sets)])


def _needed(smoke: bool, path: Path) -> Path:
    if not smoke:
        raise checks.ConfigError("out must name a folder; only a smoke run may leave it out.")
    return path


def _synthesised(recipe: Recipe, base: Path, smoke: bool, ranks: Ranks) -> Path:
    """Synthetic data in the first rank's folder, made by it alone."""
    base = Path(ranks.text(str(base.absolute())))
    with ranks.first_alone():
        return _synthesise(recipe, base, smoke)


def _synthesise(recipe: Recipe, base: Path, smoke: bool) -> Path:
    """Synthetic raw files of the recipe's dataset, prepared; made once, and refused where they were made otherwise."""
    name = recipe.data.dataset
    if name == NO_DATA:
        return base
    if name != "simulated" and not smoke:
        raise checks.ConfigError(
            f"data must name the folder of the prepared dataset {name!r}; make it with: "
            f"braindec prepare {name} --raw DIR --out DIR"
        )
    size = "-smoke" if smoke else ""  # a full run in the folder of a smoke run must not find its small world
    raw, prepared, made_of = base / f"raw{size}", base / f"prepared{size}", base / f"made_of{size}.json"
    told = recipe.settings.get("world", "smoke" if smoke else None)
    world = {"world": told} if name == "simulated" and told else {}
    synthetic, settings = world | recipe.settings.get("synthetic", {}), recipe.settings.get("prepared", {})
    asked = config.to_json({"dataset": name, "synthetic": synthetic, "prepared": settings})
    if (prepared / "dataset.json").is_file():
        found = store.read_json(made_of) if made_of.is_file() else asked
        if found != asked:
            raise checks.ConfigError(
                f"{base} holds synthetic data of {found}, and this run asks for {asked}. Name another folder with "
                f"--out, or delete {raw} and {prepared}."
            )
        return prepared
    store.write_json(made_of, asked)
    dataset = catalogue.load(name)
    dataset["synthetic"](raw, **synthetic)
    dataset["prepare"](raw, prepared, **settings)
    return prepared


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON: the record of a run, never its source."""
    plain = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}
    steps = plain.pop("preprocessing")
    named = {"all": steps} if isinstance(steps, tuple) else steps
    described = {k: [{"step": type(s).__name__} | config.to_json(s) for s in v] for k, v in named.items()}
    return {name: config.to_json(value) for name, value in plain.items()} | {"preprocessing": described}
