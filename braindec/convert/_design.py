"""What a converted folder is made of, as settings and as JSON, and the modules that they build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from braindec import checks, config, registry, store
from braindec.convert import _weights
from braindec.encoder import Encoder
from braindec.priors import Prior
from braindec.types import SignalInfo, SubjectSignal, space_arrays

# What layers call to draw their first weights, and what those functions call where torch does not dispatch them.
DRAWS = (
    nn.init.kaiming_uniform_,
    nn.init.uniform_,
    nn.init.normal_,
    torch.Tensor.uniform_,
    torch.Tensor.normal_,
)
FORMAT = 1
KIND = "braindec converted model"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SEED = 0  # of weights that are replaced; an adapter that is added later begins with it


@dataclass(frozen=True, eq=False)
class Design:
    """The modules of a published system in our parts.

    Parameters
    ----------
    system : str
        The published system, e.g. ``mindeye2``.
    info : SignalInfo
    outputs : mapping of str to (n_tokens, n_dims)
    adapter : a Config of a member of `adapters`, or a mapping of modality to such
    backbone : a Config of a member of `backbones`
    prior : a Config of a member of `priors`, or None
    prior_output : str
        The output that the prior is conditioned on and whose shape it has; "" without a prior.
    """

    system: str
    info: SignalInfo
    outputs: Mapping[str, tuple[int, int]]
    adapter: Any
    backbone: Any
    prior: Any = None
    prior_output: str = ""

    def build(self) -> Converted:
        """The modules with their first weights."""
        encoder = Encoder.build(self.info, self.outputs, self.adapter, self.backbone, SEED)
        if self.prior is None:
            return Converted(self, encoder.eval(), None)
        build_prior = registry.load(*registry.name_of(self.prior)).build
        shape = checks.known_key("prior_output", self.prior_output, self.outputs)
        prior: Prior = build_prior(shape, self.prior)
        return Converted(self, encoder.eval(), prior.eval())

    @property
    def opened_with(self) -> str:
        """The call that opens the folder, for the report."""
        return "braindec.convert.load(folder)"

    def tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Tables of the report: signals and outputs."""
        signals = [(f"`{key}`", str(signal.shape)) for key, signal in self.info.signals.items()]
        outputs = [(f"`{name}`", f"{n} x {d}") for name, (n, d) in self.outputs.items()]
        return [
            ("Signals", ("signal", "shape of a trial"), list(signals)),
            ("Outputs", ("output", "tokens x dims"), list(outputs)),
        ]

    def save(
        self,
        folder: Path,
        like: Mapping[str, Tensor],
        make: Callable[[str], Tensor],
        source: Mapping[str, str],
    ) -> tuple[str, ...]:
        """Writes config.json and model.safetensors; see `_keys.Made.save`."""
        _weights.write(folder / WEIGHTS, like, make)
        data = {"kind": KIND, "format": FORMAT, "source": dict(source), "design": to_json(self)}
        store.write_json(folder / CONFIG, data)
        return CONFIG, WEIGHTS

    def build_unfilled(self) -> Converted:
        """The modules with no weights worth anything: memory that is not drawn into is not taken either."""
        with _NoDraws():
            return self.build()

    def build_shapes(self) -> Converted:
        """The modules without memory: names and shapes alone."""
        with torch.device("meta"):
            return self.build()


@dataclass(frozen=True, eq=False)
class Converted:
    """A published system's model.

    Parameters
    ----------
    design : Design
    encoder : Encoder
        In eval mode.
    prior : Prior or None
        In eval mode.
    """

    design: Design
    encoder: Encoder
    prior: Prior | None

    @property
    def module(self) -> nn.ModuleDict:
        """All of it: parameters are called ``encoder.*`` and ``prior.*``."""
        parts: dict[str, nn.Module] = {"encoder": self.encoder}
        return nn.ModuleDict(parts | ({} if self.prior is None else {"prior": self.prior}))


def to_json(design: Design) -> dict[str, Any]:
    """The form in config.json."""
    return {
        "system": design.system,
        "signals": {key: _signal_to_json(signal) for key, signal in design.info.signals.items()},
        "outputs": {name: list(shape) for name, shape in design.outputs.items()},
        "adapter": config.to_json(design.adapter),
        "backbone": config.to_json(design.backbone),
        "prior": config.to_json(design.prior),
        "prior_output": design.prior_output,
    }


def from_json(data: Mapping[str, Any]) -> Design:
    """What `to_json` wrote; components resolve only inside braindec's own kinds."""

    def component(value: dict[str, Any]) -> Any:
        return config.component_from_json(value, registry.load)

    adapter = data["adapter"]
    return Design(
        system=data["system"],
        info=SignalInfo({key: _signal_from_json(signal) for key, signal in data["signals"].items()}),
        outputs={name: (int(shape[0]), int(shape[1])) for name, shape in data["outputs"].items()},
        adapter=component(adapter) if "kind" in adapter else {k: component(v) for k, v in adapter.items()},
        backbone=component(data["backbone"]),
        prior=None if data["prior"] is None else component(data["prior"]),
        prior_output=data["prior_output"],
    )


def _signal_to_json(signal: SubjectSignal) -> dict[str, Any]:
    about, arrays = space_arrays.to_arrays(signal.space)
    return {
        "subject": signal.subject,
        "modality": signal.modality,
        "shape": list(signal.shape),
        "sfreq": signal.sfreq,
        "tmin": signal.tmin,
        "units": signal.units,
        "space": about,
        "space_arrays": {name: _array_to_json(values) for name, values in arrays.items()},
    }


def _signal_from_json(data: Mapping[str, Any]) -> SubjectSignal:
    arrays = {name: _array_from_json(values) for name, values in data["space_arrays"].items()}
    return SubjectSignal(
        subject=data["subject"],
        modality=data["modality"],
        shape=tuple(data["shape"]),
        space=space_arrays.from_arrays(data["space"], arrays),
        sfreq=data["sfreq"],
        tmin=data["tmin"],
        units=data["units"],
    )


def _array_to_json(values: np.ndarray) -> dict[str, Any]:
    """Strict JSON has no NaN (a sensor whose place is not known): null stands for it."""
    flat = values.reshape(-1).tolist()
    shown = [None if isinstance(v, float) and v != v else v for v in flat]
    return {"dtype": str(values.dtype), "shape": list(values.shape), "values": shown}


def _array_from_json(data: Mapping[str, Any]) -> np.ndarray:
    values = [float("nan") if v is None else v for v in data["values"]]
    return np.asarray(values, dtype=np.dtype(data["dtype"])).reshape(data["shape"])


class _NoDraws(TorchFunctionMode):
    """Leaves tensors as they are where first weights would be drawn into them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
