"""From embeddings to pictures: the contract of generators, and what they can be told beside an embedding.

Every other file of this folder is one generator: a frozen dataclass `Config` and a function `build(config, ...)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from braindec import checks

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, eq=False)
class Guides:
    """What a generator is told beside image embeddings; row i belongs to embedding i, None says nothing.

    Parameters
    ----------
    low_level : ndarray of uint8, shape (n, height, width, 3), optional
        RGB pictures of any size that the drawing starts from (img2img), e.g. of a decoded VAE latent.
    control : ndarray of float, shape (n, height, width), optional
        Decoded depth or silhouette, in [0, 1], of any size.
    texts : tuple of str, optional
        A caption a row.
    brain : ndarray of float, shape (n, n_features), optional
        Features of the brain itself, that a control branch reads.

    Raises
    ------
    ValueError
        If pictures are not RGB bytes, a control map holds other values than [0, 1], or features are not finite.
    """

    low_level: np.ndarray | None = None
    control: np.ndarray | None = None
    texts: tuple[str, ...] | None = None
    brain: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.low_level is not None:
            checks.n_axes("low_level", self.low_level, ("stimulus", "height", "width", "rgb"))
            if self.low_level.dtype != "uint8" or self.low_level.shape[3] != 3:
                raise ValueError(
                    f"low_level must be RGB pictures of uint8, got {self.low_level.dtype} with "
                    f"{self.low_level.shape[3]} channels; draw them with a generator, e.g. generators.pixels."
                )
        if self.control is not None and checks.n_axes("control", self.control, CONTROL_AXES).size:
            checks.finite("control", self.control)
            checks.at_least("control", float(self.control.min()), 0.0)
            checks.in_range("control", float(self.control.max()), 0.0, 1.0)
        if self.brain is not None:
            checks.finite("brain", checks.n_axes("brain", self.brain, ("stimulus", "feature")))

    def told(self) -> frozenset[str]:
        """Names of what is said."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def rows(self, rows: slice) -> Guides:
        """The guides of some rows."""
        return Guides(**{name: getattr(self, name)[rows] for name in self.told()})

    def without(self, *names: str) -> Guides:
        """The guides but those named."""
        return Guides(**{name: getattr(self, name) for name in self.told() - set(names)})


CONTROL_AXES = ("stimulus", "height", "width")
NOTHING = Guides()


class Generator(ABC):
    """Makes pictures of image embeddings of one space.

    Attributes
    ----------
    name : str
        Member name, e.g. "embedded_unclip".
    space : str
        The embedding space it was made for; embeddings of another space would give pictures of nothing.
    takes : frozenset of str
        Names of the `Guides` it uses. Another one is refused, never ignored (`accepted`).
    """

    name: str
    space: str
    takes: frozenset[str] = frozenset()

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What makes the pictures (weights' sha256, steps, guidance or gallery) as JSON values, for provenance."""

    @abstractmethod
    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """One picture for each embedding.

        Parameters
        ----------
        image_embeddings : ndarray of float, shape (n, n_tokens, dim)
            Image embeddings of `space`.
        generator : torch.Generator
            The only source of randomness: equal seeds give equal bytes. Noise is drawn on its own device for all rows
            at once, so a row's picture depends on no batch size, beyond rounding.
        guides : Guides
            What is told beside the embeddings, of `takes` alone.
        n_steps : int, optional
            Steps of an iterative generator; None for the config's own number.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        ndarray of uint8, shape (n, height, width, 3)
            RGB, 0-255.

        Raises
        ------
        ConfigError
            If a guide is told that it does not take.
        ValueError
            If embeddings or guides have other shapes, or hold NaN.
        """


def accepted(member: Generator, guides: Guides, n: int, needs: frozenset[str] = frozenset()) -> Guides:
    """The guides, when a generator takes all of them and they have a row for each embedding.

    Parameters
    ----------
    member : Generator
    guides : Guides
    n : int
        Number of embeddings.
    needs : frozenset of str
        Names of guides that it cannot do without.

    Raises
    ------
    ConfigError
        If a guide is not taken, or one that is needed is not told.
    ValueError
        If a guide has another number of rows.
    """
    told = guides.told()
    if refused := sorted(told - member.takes):
        takes = sorted(member.takes) or "no guides"
        raise checks.ConfigError(f"generator {member.name} takes {takes}, got {refused}; leave them out.")
    if lacking := sorted(needs - told):
        raise checks.ConfigError(
            f"generator {member.name} cannot draw without {lacking}; give them as guides."
        )
    for name in sorted(told):
        checks.same_length("stimulus", image_embeddings=range(n), **{name: getattr(guides, name)})
    return guides
