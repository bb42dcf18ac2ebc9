"""Feature spaces for encoding models, named by a word: a target, a layer of its network, or one of random weights.

``tiny_openclip`` is a target's own embedding, ``tiny_openclip@visual.layer2`` what a module of its network puts out,
``tiny_openclip@visual.layer2!random`` the same of the untrained network, ``pixels:height=16,width=16`` has settings.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, config, registry, seeding
from braindec.data import NeuralDataset
from braindec.targets import ImageTarget
from braindec.targets._embedding import embed
from braindec.types import Embeddings

GRID = 4  # positions a side that are kept of a feature map: layers of any size become comparable, and small enough
SPEC = re.compile(r"(?P<target>\w+)(?::(?P<settings>[^@!]+))?(?:@(?P<layer>[^!]+))?(?P<random>!random)?")
BLOCK = re.compile(r"(layers?|blocks|stages|resblocks|features|trunk\.blocks)\.?\d+$")


def feature_target(spec: str, seed: int = 0) -> ImageTarget:
    """What embeds pictures into a named feature space.

    Parameters
    ----------
    spec : str
        ``target[:setting=value,...][@module][!random]``.
    seed : int
        Of random weights.

    Raises
    ------
    ConfigError
        If the word is not of this form, or names no target or layer that there is.
    """
    found = SPEC.fullmatch(spec)
    if found is None:
        raise checks.ConfigError(
            f"feature space {spec!r} is not of the form target[:setting=value,...][@module][!random]; "
            "targets are listed by: braindec list targets"
        )
    member = registry.load("targets", found["target"])
    sets = found["settings"].split(",") if found["settings"] else []
    target = member.build(config.override(member.Config(), sets))
    if not isinstance(target, ImageTarget):
        raise checks.ConfigError(
            f"target {found['target']!r} does not embed pictures; encoding models need one that does."
        )
    if found["layer"] is None and found["random"] is None:
        return target
    return LayerOf(target, found["layer"], seed if found["random"] else None)


def layers_of(spec: str, n: int = 6) -> list[str]:
    """Names of up to `n` feature spaces inside a target's network, from early to late, the target's own embedding last.

    A target without blocks of layers has its own embedding only.
    """
    target = feature_target(spec)
    network = _network(target)
    names = [] if network is None else [name for name, _ in network.named_modules() if BLOCK.search(name)]
    depth = min((name.count(".") for name in names), default=0)
    blocks = [
        name for name in names if name.count(".") == depth and not name.startswith(("transformer", "text"))
    ]
    kept = (
        [blocks[i] for i in np.unique(np.linspace(0, len(blocks) - 1, min(n - 1, len(blocks))).astype(int))]
        if blocks
        else []
    )
    return [*(f"{spec}@{name}" for name in kept), spec]


def default_nuisance(specs: Sequence[str]) -> list[str]:
    """Coarse pixels, and the middle one of these layers with random weights where its target has a network."""
    middle = specs[(len(specs) - 1) // 2]
    pixels = ["pixels:height=8,width=8,colour=rgb"]
    return [*pixels, f"{middle}!random"] if has_network(middle) and not middle.endswith("!random") else pixels


def has_network(spec: str) -> bool:
    """Whether a target's features come from a network, so that there is one with random weights to compare with."""
    return _network(feature_target(spec.partition("@")[0])) is not None


def feature_spaces(
    specs: Sequence[str],
    dataset: NeuralDataset,
    *,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = False,
) -> dict[str, Embeddings]:
    """Embeddings of the dataset's stimuli in every named space, made once and kept in `cache`."""
    content = dataset.about["stimuli"]["sha256"] if dataset.folder else str(len(dataset.stimuli.ids))
    ids = dataset.stimulus_ids
    return {
        spec: embed(
            feature_target(spec, seed),
            dataset.stimuli,
            content=content,
            ids=ids,
            cache=cache,
            progress=progress,
        )
        for spec in specs
    }


class LayerOf(ImageTarget):
    """What one module inside another target's network puts out, averaged over a coarse grid of positions.

    Parameters
    ----------
    target : ImageTarget
        Brings its own picture transform.
    layer : str or None
        Name of the module; None: the target's embedding.
    random_seed : int or None
        Not None: the network's weights are drawn anew, as before training.
    """

    def __init__(self, target: ImageTarget, layer: str | None, random_seed: int | None = None):
        self._target = copy.deepcopy(target) if random_seed is not None else target
        network = _network(self._target)
        if network is None:
            raise checks.ConfigError(
                f"target {target.name!r} has no network, and so no layers and no random weights."
            )
        if random_seed is not None:
            _redraw(network, random_seed)
        modules = dict(network.named_modules())
        self._module = None if layer is None else checks.known_key("layer", layer, modules)
        self._random, self._layer = random_seed, layer
        self._channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # as timm says it, of Swin
        self.name = target.name
        self.space = f"{target.space}@{layer}" + ("" if random_seed is None else f"!random{random_seed}")
        probe = self.embed_images([np.zeros((64, 64, 3), dtype=np.uint8)])
        self.shape = (1, int(probe.shape[2]))

    def identity(self) -> dict[str, Any]:
        """The target's, with the layer, the grid and the seed of random weights."""
        told = {"layer": self._layer, "grid": GRID, "random_weights": self._random}
        drawn = {} if self._random is None else {"drawn_anew": "all"}
        turned = {"channels_last": True} if self._channels_last else {}
        return self._target.identity() | told | drawn | turned

    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, dim); see `ImageTarget.embed_images`."""
        if self._module is None:
            made = self._target.embed_images(images, batch_size=batch_size, device=device, progress=progress)
            return made.reshape(len(made), 1, -1)
        kept: list[np.ndarray] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            found = output[0] if isinstance(output, tuple) else output
            if self._channels_last and found.ndim == 4:
                found = found.permute(0, 3, 1, 2)
            kept.append(_pooled(found).float().cpu().numpy())

        handle = self._module.register_forward_hook(keep)
        try:
            self._target.embed_images(images, batch_size=batch_size, device=device, progress=progress)
        finally:
            handle.remove()
        return np.concatenate(kept)[:, None]


def _network(target: ImageTarget) -> nn.Module | None:
    """The network that a target keeps, under whatever name."""
    return next((value for value in vars(target).values() if isinstance(value, nn.Module)), None)


def _pooled(output: Tensor) -> Tensor:
    """(n, dim): a feature map over a coarse grid, tokens as their mean, a vector as it is."""
    if output.ndim == 4:
        side = min(GRID, *output.shape[-2:])
        return nn.functional.adaptive_avg_pool2d(output, side).flatten(1)
    return output.mean(1) if output.ndim == 3 else output.flatten(1)


def _redraw(network: nn.Module, seed: int) -> None:
    """Every module that can start anew does; other parameters are drawn about their own mean with their own spread.

    These are class tokens, embeddings of places, projections, scales of layers: their size is kept, and nothing else.
    """
    rest: list[nn.Module] = []
    with seeding.seeded(seed, "random network"), torch.no_grad():
        for module in network.modules():
            start = getattr(module, "reset_parameters", None)
            if callable(start):
                start()
            else:
                rest.append(module)
        for module in rest:
            if isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()  # torch has no public name for it
                continue
            for own in module.parameters(recurse=False):
                if own.numel() > 1:
                    own.normal_(float(own.mean()), float(own.std()))
