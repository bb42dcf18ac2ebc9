"""No prior: the predicted embedding goes to the generator as it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from braindec import checks
from braindec.priors import Shapes, Told
from braindec.priors._closed_form import ClosedForm


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class NoPrior(ClosedForm):
    """Gives back what it gets."""

    def solve_(self, brain_embedding: Tensor, image_embedding: Tensor, told: Told) -> None:
        """Nothing to learn."""

    def expected(self, brain_embedding: Tensor, told: Told) -> Tensor:
        """The brain embedding."""
        return brain_embedding


def build(shape: tuple[int, int], config: Config, told: Shapes | None = None) -> NoPrior:
    """The prior for embeddings of this shape; it has no use for more, so being told more is refused."""
    if told:
        raise checks.ConfigError(
            f"prior 'none' gives back the brain embedding and cannot be told {sorted(told)}; take another prior, or "
            "leave prior_told empty."
        )
    return NoPrior(shape)
