"""No prior: the predicted embedding goes to the generator as it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from braindec.priors._closed_form import ClosedForm


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class NoPrior(ClosedForm):
    """Gives back what it gets."""

    def solve_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Nothing to learn."""

    def expected(self, brain_embedding: Tensor) -> Tensor:
        """The brain embedding."""
        return brain_embedding


def build(shape: tuple[int, int], config: Config) -> NoPrior:
    """The prior for embeddings of this shape."""
    return NoPrior(shape)
