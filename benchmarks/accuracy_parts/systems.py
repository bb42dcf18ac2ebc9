"""The systems that are compared, and the one table of what each may choose among: four configurations each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from braindec.adapters import gain_bias, subject_token
from braindec.adapters import linear as linear_adapter
from braindec.backbones import channel_transformer, mixer, mlp, temporal_spatial
from braindec.backbones import linear as linear_backbone
from braindec.data.preprocessing import AverageTime, ClipMad, Crop, Standardise, Vectorise, Whiten
from braindec.decoder.settings import Settings
from braindec.losses import clip, mse, soft_clip
from braindec.train import Config as Train

STEPS = {"n_steps": 400, "validate_every": 50, "batch_size": 256}  # one stopping rule: the best look of these
SEEDS = (0, 1, 2, 3, 4)
SEARCH_SEED = 0
SOFT = soft_clip.Config(
    mixco_fraction=0.2, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
)


@dataclass(frozen=True)
class Entry:
    """One system: what it is, which signals it takes, and its four configurations.

    kind: ``ridge``, ``closed_form`` or ``gradient``. sensors: whether it needs channels by time, the signal of M/EEG.
    """

    about: str
    kind: str
    choices: tuple[dict[str, Any], ...]
    sensors: bool = False


def _grid(lrs: tuple[float, float], dropouts: tuple[float, float]) -> tuple[dict[str, Any], ...]:
    return tuple({"lr": lr, "dropout": d} for lr in lrs for d in dropouts)


SYSTEMS: dict[str, Entry] = {
    "ridge": Entry(
        "ridge of each subject into the target's principal directions, a penalty (of 17) for each block of them",
        "ridge", tuple({"n_blocks": n} for n in (1, 4, 16, 64)),
    ),
    "closed_form": Entry(
        "fit='closed_form': reduced-rank ridge of all subjects onto one basis; of a new subject empirical Bayes",
        "closed_form", tuple({"rank": n} for n in (16, 32, 64, 128)),
    ),
    "nice": Entry(
        "NICE: temporal_spatial, variant='published', symmetric InfoNCE with a learned temperature",
        "gradient", _grid((5e-4, 2e-3), (0.25, 0.5)), sensors=True,
    ),
    "atm": Entry(
        "ATM: subject_token and channel_transformer, symmetric InfoNCE with a learned temperature",
        "gradient", _grid((5e-4, 2e-3), (0.25, 0.5)), sensors=True,
    ),
    "mindeye1": Entry(
        "MindEye1's residual MLP (no linear path, random start), SoftCLIP with MixCo",
        "gradient", _grid((1e-3, 3e-3), (0.15, 0.5)),
    ),
    "mindeye2": Entry(
        "MindEye2's shared linear space and mixer as published, SoftCLIP with MixCo",
        "gradient", _grid((1e-3, 3e-3), (0.15, 0.5)),
    ),
    "mindeye2_fixed": Entry(
        "the same with the mixer that mixes", "gradient", _grid((1e-3, 3e-3), (0.15, 0.5))
    ),
    "ours": Entry(
        "braindec's default: starts as the closed form, then residual MLP beside the linear path, SoftCLIP with MixCo",
        "gradient", _grid((1e-4, 1e-3), (0.2, 0.5)),
    ),
}  # fmt: skip
FLAT = tuple(name for name, entry in SYSTEMS.items() if not entry.sensors)
SMALL_STEPS = {"n_steps": 8, "validate_every": 4, "batch_size": 64}


def settings_of(
    name: str, choice: dict[str, Any], modality: str, seed: int, *, steps: dict[str, int]
) -> Settings:
    """A decoder's settings: one configuration of one system, on one kind of signal."""
    train = Train(**steps, lr=choice.get("lr", 1e-4), device="cpu", ridge_start=name == "ours")
    made = Settings(
        linear_adapter.Config(shared_dim=64), linear_backbone.Config(), SOFT, preprocessing=steps_of(name, modality),
        train=train, n_folds=0, calibrate=False, seed=seed,
    )  # fmt: skip
    drop = choice.get("dropout", 0.0)
    if name == "ridge":
        return replace(made, loss=mse.Config())
    if name == "closed_form":
        return replace(
            made,
            adapter=linear_adapter.Config(shared_dim=choice["rank"]),
            loss=mse.Config(),
            fit="closed_form",
        )
    if name in ("nice", "atm"):
        return replace(made, **_sensors(name, drop, modality), loss=clip.Config(learned=True))
    if name == "mindeye1":
        backbone: Any = mlp.Config(width=256, n_blocks=2, dropout=drop, skip_linear=False)
    elif name == "ours":
        backbone = mlp.Config(width=256, n_blocks=1, dropout=drop)
    else:
        backbone = mixer.Config(variant="published" if name == "mindeye2" else "fixed", dropout=drop)
    return replace(made, adapter=linear_adapter.Config(shared_dim=192), backbone=backbone)


def _sensors(name: str, dropout: float, modality: str) -> dict[str, Any]:
    """Filters as long in seconds as the published ones: 0.1 s, means over 0.2 s every 20 ms, at 100 Hz.

    NICE has no subject layer: signals pass as they are, but for one gain and bias a channel and subject.
    """
    sizes = {"n_filters": 40, "kernel": 10, "pool": 20, "stride": 2, "dropout": dropout}
    if name == "nice":
        return {
            "adapter": gain_bias.Config(mapping="none"),
            "backbone": temporal_spatial.Config(**sizes, variant="published"),
        }
    return {"adapter": subject_token.Config(), "backbone": channel_transformer.Config(**sizes)}


def steps_of(name: str, modality: str) -> tuple[Any, ...]:
    """Preprocessing: the same for all systems that take a signal in the same form."""
    if modality == "fmri":
        return (Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats"))
    if modality == "eeg":
        if SYSTEMS[name].sensors:
            return (Crop(0.0, 0.5), Whiten(noise="repeats"))
        return (Crop(0.0, 0.5), AverageTime(3), Vectorise(), Whiten(noise="repeats"))
    if modality == "haxby2001":
        return (Standardise(unit="run", scope="unit_unlabelled", scale=False), Standardise())
    if modality == "faces_houses_eeg":
        cut = (ClipMad(3.0), Standardise(), Crop(0.0, 0.5))
        return cut if SYSTEMS[name].sensors else (*cut, AverageTime(4), Vectorise())
    return (Standardise(),)
