"""What chose a fit, as a record: what was searched, on which validation units, and by which rule training stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from braindec import config, store
from braindec.decoder.cross_fit import held_units
from braindec.decoder.settings import Settings, settings_to_json

LAST_STEP = "the last of a given number of steps"
BY_CROSS_FITTING = "the number of steps that units held out of training prefer"
CLOSED_FORM = "solved in closed form: no steps"
OF_ENCODER = ("n_steps", "validate_every")
OF_PRIOR = ("n_steps", "validate_every", "validation_fraction")


def rules_of(settings: Settings, units: Iterable[str], unit: str) -> dict[str, Any]:
    """The record of one fit: ``search``, ``validation`` and ``stopping``, JSON values that two systems must share.

    Parameters
    ----------
    settings : Settings
    units : iterable of str
        Of the training data, over all subjects.
    unit : str
        What they are.
    """
    return {
        "search": searched({}),
        "validation": validation_of(held_units(units, settings.n_folds, settings.seed), unit),
        "stopping": stopping_of(settings),
    }


def searched(space: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What was tried: the values of each setting, the number of their combinations (1: nothing), and a hash."""
    values = {name: [config.to_json(v) for v in space[name]] for name in sorted(space)}
    n = 1
    for options in values.values():
        n *= len(options)
    return {"n_configurations": n, "space": values, "hash": store.content_hash(space=values)}


def validation_of(folds: Iterable[Iterable[str]], unit: str) -> dict[str, Any]:
    """Which training units were held out to choose by: their number, folds and hash; no folds are no validation."""
    dealt = sorted(sorted(fold) for fold in folds)
    hashed = store.content_hash(unit=unit, folds=dealt)
    return {"unit": unit, "n_folds": len(dealt), "n_units": sum(map(len, dealt)), "hash": hashed}


def stopping_of(settings: Settings) -> dict[str, Any]:
    """When training stops, under the names that a recipe has for it; a prior's part only where there is a prior."""
    data = settings_to_json(settings)
    solved, crossed = settings.fit == "closed_form", settings.n_folds > 1
    names = [] if solved else [f"train.{name}" for name in (OF_ENCODER if crossed else OF_ENCODER[:1])]
    names += [f"prior_train.{name}" for name in OF_PRIOR] if settings.prior is not None else []
    found = {name: data[name.partition(".")[0]][name.partition(".")[2]] for name in names}
    if solved:
        return {"rule": CLOSED_FORM, **found}
    # Calibrated predictions are looked at as they will be used, others by their cosine: two rules.
    chosen = {"n_folds": settings.n_folds, "calibrate": settings.calibrate} if crossed else {}
    return {"rule": BY_CROSS_FITTING if crossed else LAST_STEP, **chosen, **found}
