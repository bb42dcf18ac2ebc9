"""Encoder = an adapter a subject, what adapters share, and one backbone: brain signals in, predicted embeddings out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from braindec import checks, registry, seeding
from braindec.adapters import SharedPart, SubjectAdapter
from braindec.adapters._basis import common_basis
from braindec.backbones import Backbone
from braindec.types import SignalInfo, SubjectSignal


class Encoder(nn.Module):
    """Adapters by signal key (``sub-01_fmri``) that meet at one shared shape, and the backbone behind them.

    Where a member's subjects have weights in common, `shared` holds these once (``spatial_merger_meg``).

    Parameters
    ----------
    backbone : Backbone
    shared_shape : tuple of int
        What the backbone was built for.
    adapter_config : a Config of a member of `adapters`, or a mapping of modality to such
        For the subjects there are and those to come.
    seed : int
    """

    def __init__(self, backbone: Backbone, shared_shape: tuple[int, ...], adapter_config: Any, seed: int):
        super().__init__()
        self.adapters = nn.ModuleDict()
        self.shared = nn.ModuleDict()
        self.backbone = backbone
        self.shared_shape = shared_shape
        self.adapter_config = adapter_config
        self.seed = seed
        self._shared_names: dict[str, str] = {}  # signal key: name of the shared part its adapter uses

    @classmethod
    def build(
        cls,
        info: SignalInfo,
        outputs: Mapping[str, tuple[int, int]],
        adapter_config: Any,
        backbone_config: Any,
        seed: int,
    ) -> Encoder:
        """The encoder of these subjects; each part's first weights depend on the seed and its own name alone.

        Parameters
        ----------
        info : SignalInfo
        outputs : mapping of str to (n_tokens, n_dims)
        adapter_config : a Config of a member of `adapters`, or a mapping of modality to such
        backbone_config : a Config of a member of `backbones`
        seed : int

        Raises
        ------
        ValueError
            If there is no subject, or the subjects' adapters end in different shapes.
        """
        checks.at_least("number of signals", len(info.signals), 1)
        adapters = {key: _adapter(signal, adapter_config, seed) for key, signal in info.signals.items()}
        shared_shape = next(iter(adapters.values())).shared_shape
        build_backbone = registry.load(*registry.name_of(backbone_config)).build
        with seeding.seeded(seed, "backbone"):
            backbone = build_backbone(shared_shape, outputs, backbone_config)
        encoder = cls(backbone, shared_shape, adapter_config, seed)
        for signal in info.signals.values():
            encoder._add(signal, adapters[signal.key], tuple(info.signals.values()))
        return encoder

    @torch.no_grad()
    def add_subject(self, signal: SubjectSignal) -> tuple[str, ...]:
        """Gives one more subject an adapter, on the backbone's device; nothing that was there changes.

        Where the member has a way, the adapter starts from those of its modality's other subjects.

        Returns
        -------
        tuple of str
            How the names of the new parameters begin: the adapter's, and a shared part's where the modality is new.
        """
        if signal.key in self.adapters:
            raise ValueError(f"this encoder already has an adapter for {signal.key}.")
        adapter = _adapter(signal, self.adapter_config, self.seed)
        others = [
            self.adapter(key)
            for key in self.keys
            if key.endswith(f"_{signal.modality}") and type(self.adapter(key)) is type(adapter)
        ]
        new = self._add(signal, adapter, (signal,))
        if others:
            adapter.start_from_subjects_(others)
        return new

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the subjects' signals, in the order they were added."""
        return tuple(self.adapters)

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Predictions for a batch of each subject, with one call of the backbone.

        Parameters
        ----------
        signals : mapping of str to Tensor, each shape (n_trials, *signal_shape)
            By signal key; subjects may differ in their number of trials.

        Returns
        -------
        dict of str to dict of str to Tensor, each shape (n_trials, n_tokens, n_dims)
            By signal key, then by output name.

        Raises
        ------
        ValueError
            If there is no signal, a key is unknown or a signal has another shape than its adapter was built for.
        """
        checks.at_least("number of signals", len(signals), 1)
        # A product a subject: one over all, padded to the most voxels, takes 4 to 10 times as long on a processor.
        shared = [self.adapter(key)(self._checked(key, signal)) for key, signal in signals.items()]
        outputs = self.backbone(torch.cat(shared))  # {output: (trial of any subject, token, dim)}
        counts = [len(values) for values in shared]
        parts = {name: values.split(counts) for name, values in outputs.items()}
        return {key: {name: split[i] for name, split in parts.items()} for i, key in enumerate(signals)}

    def adapter(self, key: str) -> SubjectAdapter:
        """The adapter of one subject's signal; an unknown key is refused with the keys there are."""
        checks.known_key("signal", key, dict(self.adapters.items()))
        adapter: SubjectAdapter = self.adapters[key]  # type: ignore[assignment]  # only `_add` fills the dict
        return adapter

    @torch.no_grad()
    def start_from_ridge_(
        self, maps: Mapping[str, tuple[Tensor, Tensor]], output: str = "main"
    ) -> tuple[str, ...]:
        """Starts adapters and the backbone's linear path from subjects' closed-form solutions.

        Where the shared vector is as long as the output, the linear path then computes every subject's solution;
        where it is shorter, the best common subspace of that length (for signals of unit variance without correlation).

        Parameters
        ----------
        maps : mapping of str to (weight, bias)
            By signal key: (n_tokens * n_dims, n_signal_values) and (n_tokens * n_dims,).
        output : str

        Returns
        -------
        tuple of str
            Keys of the adapters that took their solution over. None where the backbone or all adapters have no place
            for one; the backbone has then not changed, and shared parts only where they have a use for the maps.
        """
        path = self.backbone.linear_path(output)
        if not maps:
            return ()
        if path is None:
            self._start_shared_(maps)
            return ()
        n_rows = min(path.in_features, path.out_features)
        mean = torch.stack([bias for _, bias in maps.values()]).mean(0)
        basis = common_basis([weight for weight, _ in maps.values()], n_rows)  # (output value, row)
        rows = {key: (basis.T @ weight, basis.T @ (bias - mean)) for key, (weight, bias) in maps.items()}
        return self.start_from_rows_(rows, basis, mean, output)

    @torch.no_grad()
    def start_from_rows_(
        self, maps: Mapping[str, tuple[Tensor, Tensor]], basis: Tensor, mean: Tensor, output: str = "main"
    ) -> tuple[str, ...]:
        """Starts adapters and the backbone's linear path from solutions that were already reduced to common directions.

        Parameters
        ----------
        maps : mapping of str to (weight, bias)
            By signal key: (n_rows, n_signal_values) and (n_rows,).
        basis : Tensor, shape (n_tokens * n_dims, n_rows)
            Brings rows to the output; n_rows is at most the number of shared values.
        mean : Tensor, shape (n_tokens * n_dims,)
            What is added.
        output : str
            One with a linear path.

        Returns
        -------
        tuple of str
            Keys of the adapters that took their solution over.
        """
        path = checks.of_type(f"linear path of {output}", self.backbone.linear_path(output), nn.Linear)
        scale = _scale_of_a_fresh_layer([weight for weight, _ in maps.values()])
        rows = {key: (weight * scale, bias * scale) for key, (weight, bias) in maps.items()}
        readout = self._start_shared_(rows)
        if readout is not None:
            path.weight.copy_((basis / scale) @ readout.to(basis))
            path.bias.copy_(mean)
            return tuple(rows)
        started = tuple(key for key, (w, b) in rows.items() if self.adapter(key).start_from_(w, b))
        if started:
            path.weight.zero_()
            path.weight[:, : basis.shape[1]] = (basis / scale).to(path.weight)
            path.bias.copy_(mean)
        return started

    def wants_maps(self, output: str) -> bool:
        """Whether `start_from_ridge_` has a use for closed-form solutions of this output."""
        parts = (checks.of_type(name, part, SharedPart) for name, part in self.shared.items())
        return self.backbone.linear_path(output) is not None or any(part.wants_maps for part in parts)

    def _start_shared_(self, maps: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor | None:
        """Lets shared parts use the maps; a readout where one part serves all these subjects and gives one."""
        readout = None
        for name, part in self.shared.items():
            keys = [key for key in maps if self._shared_names.get(key) == name]
            if keys:
                adapters = [self.adapter(key) for key in keys]
                found = checks.of_type(name, part, SharedPart).start_from_maps_(
                    [maps[k] for k in keys], adapters
                )
                readout = found if len(keys) == len(maps) else None
        return readout

    def _add(
        self, signal: SubjectSignal, adapter: SubjectAdapter, signals: Sequence[SubjectSignal]
    ) -> tuple[str, ...]:
        """Adds an adapter and the shared part it needs, made for `signals`; gives how new parameters' names begin."""
        key = signal.key
        if adapter.shared_shape != self.shared_shape:
            first = next(iter(self.adapters), "the backbone")
            raise ValueError(
                f"{key} has shared shape {adapter.shared_shape} but {first} has {self.shared_shape}; subjects meet at "
                "one shape: give their adapters settings that end in the same one."
            )
        like = next(self.backbone.parameters())
        self.adapters[key] = adapter.to(device=like.device, dtype=like.dtype)
        config = _config_of(signal, self.adapter_config)
        module = registry.load(*registry.name_of(config))
        if not hasattr(module, "build_shared"):
            return (f"adapters.{key}.",)
        name = f"{registry.name_of(config)[1]}_{signal.modality}"
        is_new = name not in self.shared
        if is_new:
            same = [s for s in signals if s.modality == signal.modality]
            with seeding.seeded(self.seed, "shared", name):
                part = module.build_shared(same, config)
            if part is None:
                return (f"adapters.{key}.",)
            self.shared[name] = part.to(device=like.device, dtype=like.dtype)
        adapter.attach(self.shared[name])
        self._shared_names[key] = name
        return (f"adapters.{key}.", f"shared.{name}.") if is_new else (f"adapters.{key}.",)

    def _checked(self, key: str, signal: Tensor) -> Tensor:
        adapter = self.adapter(key)
        if not adapter.accepts(tuple(signal.shape[1:])):
            raise ValueError(
                f"{key} has trials of shape {tuple(signal.shape[1:])}, its adapter expects {adapter.signal_shape}."
            )
        return signal


def _adapter(signal: SubjectSignal, config: Any, seed: int) -> SubjectAdapter:
    config = _config_of(signal, config)
    build = registry.load(*registry.name_of(config)).build
    with seeding.seeded(seed, "adapter", signal.key):
        return build(signal, config)


def _config_of(signal: SubjectSignal, config: Any) -> Any:
    if isinstance(config, Mapping):
        return checks.known_key("adapter's modality", signal.modality, config)
    return config


def _scale_of_a_fresh_layer(weights: list[Tensor]) -> float:
    """What brings rows to the norm that nn.Linear's own start gives them, 1 / sqrt(3): no layer starts faint."""
    squares = torch.cat([weight.square().sum(1) for weight in weights])
    norm = math.sqrt(float(squares.mean()))
    return 1 / (math.sqrt(3) * norm) if norm > 0 else 1.0
