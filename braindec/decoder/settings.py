"""What a decoder is made of, as settings and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from braindec import checks, config, registry, seeding
from braindec.data.preprocessing import Preprocessing, steps_from
from braindec.decoder.cycle import Config as CycleConfig
from braindec.train import Config as TrainConfig
from braindec.types import EmbeddingsInfo

TRAIN = TrainConfig()
PRIOR_TRAIN = TrainConfig(n_steps=1500, batch_size=256, lr=1e-3)


@dataclass(frozen=True)
class Settings:
    """What a decoder is made of: the components' Configs, how they are trained, and the seed.

    `preprocessing` is a tuple of steps, or a dict of such tuples by modality, each step itself or as JSON; `adapter` a
    Config, or a dict likewise. `loss` and the targets may be single (the output is then called ``main``) or a dict by
    output name, with `loss_weights` beside it. A picture is drawn from the prediction averaged with the mean of
    `prior_samples` draws of the prior, as long as a training embedding: one draw alone lies further from the truth.
    Cross-fitting in `n_folds` chooses the number of training steps and makes the out-of-fold predictions that
    calibration and prior are fitted on; `calibrate` needs it. Folds are of the split's units: where these are runs or
    sessions and a stimulus returns in several, calibration's error is that of stimuli seen before, for new ones too
    small. With `fit` ``"closed_form"`` the encoder is solved (`decoder.closed_form`) and makes no step; with
    ``"gradient"`` such a solution is where training starts (`train.ridge_start`). `cycle` adds losses that tie the
    subjects' adapters to each other. `prior_told` names further outputs whose predictions the prior is told beside the
    main one's (texts, low-level embeddings).
    """

    adapter: Any
    backbone: Any
    loss: Any
    prior: Any = None
    preprocessing: Any = ()
    train: TrainConfig = TRAIN
    prior_train: TrainConfig = PRIOR_TRAIN
    prior_samples: int = 32
    prior_told: tuple[str, ...] = ()
    n_folds: int = 3
    calibrate: bool = True
    loss_weights: Mapping[str, float] | None = None
    cycle: CycleConfig | None = None
    seed: int = 0
    fit: Literal["gradient", "closed_form"] = "gradient"

    def __post_init__(self) -> None:
        object.__setattr__(self, "preprocessing", steps_from(self.preprocessing))
        checks.one_of("fit", self.fit, ("gradient", "closed_form"))
        checks.unique("prior_told", self.prior_told)
        if self.prior_told and self.prior is None:
            raise checks.ConfigError(
                f"prior_told names {list(self.prior_told)}, but there is no prior to tell."
            )
        if self.fit == "closed_form":
            if not getattr(self.backbone, "affine", False):
                raise checks.ConfigError(
                    "fit='closed_form' solves an affine encoder; set backbone to linear, or to a mixer of variant "
                    "'published', which is affine where it is given vectors."
                )
            object.__setattr__(self, "train", replace(self.train, n_steps=0))
        if self.calibrate and self.n_folds < 2:
            raise checks.ConfigError(
                f"calibrate needs n_folds of at least 2, got {self.n_folds}; raise it or set calibrate=false."
            )


def settings_of(recipe: Any) -> Settings:
    """A recipe's settings of its decoder; of another object only the fields that it has are read."""
    if isinstance(recipe, Settings):
        return recipe
    for needed in ("adapter", "backbone", "loss"):
        if getattr(recipe, needed, None) is None:
            raise checks.ConfigError(
                f"a decoder needs {needed}, and the recipe names none; set {needed} in it."
            )
    return Settings(**{n: getattr(recipe, n) for n in Settings.__dataclass_fields__ if n in dir(recipe)})


def build_losses(settings: Settings, outputs: Mapping[str, EmbeddingsInfo]) -> dict[str, Any]:
    """The losses by output name."""
    configs = settings.loss if isinstance(settings.loss, dict) else {next(iter(outputs)): settings.loss}
    unknown = sorted(set(configs) - set(outputs))
    if unknown or not configs:
        raise checks.ConfigError(f"loss names {unknown or 'nothing'}, the targets are {sorted(outputs)}.")
    weightless = sorted(set(settings.loss_weights or {}) - set(configs))
    if weightless:
        raise checks.ConfigError(f"loss_weights names {weightless}, the losses are of {sorted(configs)}.")
    return {name: registry.load(*registry.name_of(c)).build(c) for name, c in configs.items()}


def build_prior(settings: Settings, outputs: Mapping[str, EmbeddingsInfo]) -> Any:
    """The prior of the main output's embeddings, told those that the settings name; None where they name no prior."""
    if settings.prior is None:
        return None
    main, *others = outputs
    for name in settings.prior_told:
        checks.one_of("prior_told", name, others)
    module = registry.load(*registry.name_of(settings.prior))
    told = {name: outputs[name].shape for name in settings.prior_told}
    with seeding.seeded(settings.seed, "prior"):
        return module.build(outputs[main].shape, settings.prior, told)


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """The form in config.json."""
    data = config.to_json(replace(settings, preprocessing=()))
    return data | {"preprocessing": _steps_to_json(settings.preprocessing)}


def settings_from_json(data: Mapping[str, Any]) -> Settings:
    """Components resolve only inside braindec's own kinds; a preprocessing step only among its steps."""
    component = partial(config.component_from_json, load=registry.load)

    def one_or_many(value: dict[str, Any]) -> Any:
        return component(value) if "kind" in value else {k: component(v) for k, v in value.items()}

    steps = data["preprocessing"]
    many_steps = isinstance(steps, dict)
    return Settings(
        adapter=one_or_many(data["adapter"]),
        backbone=component(data["backbone"]),
        loss=one_or_many(data["loss"]),
        prior=None if data["prior"] is None else component(data["prior"]),
        preprocessing={k: _steps_from_json(v) for k, v in steps.items()}
        if many_steps
        else _steps_from_json(steps),
        train=config.from_json(TrainConfig, data["train"]),
        prior_train=config.from_json(TrainConfig, data["prior_train"]),
        prior_samples=data["prior_samples"],
        prior_told=tuple(data.get("prior_told", ())),
        n_folds=data["n_folds"],
        calibrate=data["calibrate"],
        loss_weights=data["loss_weights"],
        cycle=None if data.get("cycle") is None else config.from_json(CycleConfig, data["cycle"]),
        seed=data["seed"],
        fit=data.get("fit", "gradient"),
    )


def steps_for(preprocessing: Any, modality: str) -> Preprocessing:
    """The steps of one modality, where settings give a dict of them; else the steps of all."""
    if isinstance(preprocessing, Mapping):
        return Preprocessing(checks.known_key("preprocessing's modality", modality, preprocessing))
    return Preprocessing(tuple(preprocessing))


def _steps_to_json(preprocessing: Any) -> Any:
    if isinstance(preprocessing, Mapping):
        return {modality: Preprocessing(steps).to_json() for modality, steps in preprocessing.items()}
    return Preprocessing(tuple(preprocessing)).to_json()


def _steps_from_json(data: list[dict[str, Any]]) -> tuple[Any, ...]:
    return Preprocessing.from_json(data).steps
