"""A generator with a brain's own control branch: features of the brain steer the UNet itself."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides, accepted
from braindec.generators._control import BrainControl, Controllable


@dataclass(frozen=True)
class Config:
    """Settings of a controlled generator.

    Parameters
    ----------
    scale : float
        What the branch's residuals are multiplied by; 0 draws as without it.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        checks.at_least("scale", self.scale, 0)


def build(config: Config, base: Controllable, branch: BrainControl) -> BrainControlled:
    """A generator whose UNet is steered.

    Parameters
    ----------
    config : Config
    base : Generator
        `embedded_unclip` or any latent diffusion from a folder.
    branch : BrainControl
        Trained beside this base, see `braindec.decoder.control_branch.fit`.
    """
    return BrainControlled(config, base, branch)


class BrainControlled(Generator):
    """Pictures of image embeddings and of features of the brain (`Guides.brain`)."""

    name = "brain_control"
    needs = frozenset({"brain"})

    def __init__(self, config: Config, base: Any, branch: BrainControl) -> None:
        self.config, self.branch = config, branch
        self.base = copy.copy(base)  # of the same networks; the one that was given stays without a branch
        self.base.branch, self.base.branch_scale = branch, config.scale
        self.base.takes = base.takes | self.needs
        self.space, self.takes = base.space, self.base.takes

    def identity(self) -> dict[str, Any]:
        """The base's, and a hash of the branch."""
        digest = hashlib.sha256()
        for value in self.branch.state_dict().values():
            digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
        return {
            "generator": self.name, "base": self.base.identity(), "scale": self.config.scale,
            "branch_sha256": digest.hexdigest(),
        }  # fmt: skip

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures of embeddings and features; see `Generator.generate`."""
        guides = accepted(self, guides, len(image_embeddings), self.needs)
        found = np.asarray(guides.brain).shape[1]
        if found != self.branch.n_features:
            raise checks.SpaceMismatchError(
                f"brain has {found} features a row, but the branch reads {self.branch.n_features}; give those of the "
                "layer that it was trained on."
            )
        return self.base.generate(
            image_embeddings, generator=generator, guides=guides, n_steps=n_steps, progress=progress
        )
