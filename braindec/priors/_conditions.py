"""What a prior is told: the brain embedding, and further predicted outputs (texts, low-level embeddings) by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from braindec import checks

Shapes = Mapping[str, tuple[int, int]]
Told = Mapping[str, Tensor]


class Conditions(nn.Module):
    """Further outputs that a prior is told, each standardised by mean and SD of its training values.

    Parameters
    ----------
    shapes : mapping of str to (n_tokens, n_dims), optional
        Of each, in the order in which they are told; none by default.
    """

    def __init__(self, shapes: Shapes | None = None):
        super().__init__()
        self.shapes = {name: (int(n), int(d)) for name, (n, d) in (shapes or {}).items()}
        for name, shape in self.shapes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))

    @property
    def n_values(self) -> int:
        """Values of all outputs together."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def n_tokens(self) -> int:
        """Tokens of all outputs together."""
        return sum(n for n, _ in self.shapes.values())

    def start_(self, told: Told | None, n_trials: int, *, standardise: bool = True) -> None:
        """Takes mean and SD of every value, or leaves values as they are."""
        for name, values in self.checked(told, n_trials).items():
            if standardise:
                self.get_buffer(f"{name}_mean").copy_(values.mean(0))
                self.get_buffer(f"{name}_scale").copy_(scale_of(values))

    def forward(self, told: Told | None, n_trials: int) -> dict[str, Tensor]:
        """By name, (n_trials, n_tokens, n_dims), standardised."""
        return {
            name: (values - self.get_buffer(f"{name}_mean")) / self.get_buffer(f"{name}_scale")
            for name, values in self.checked(told, n_trials).items()
        }

    def checked(self, told: Told | None, n_trials: int) -> dict[str, Tensor]:
        """What is told, in the order of the shapes.

        Raises
        ------
        ValueError
            If an output is missing, one is not known, or shapes or numbers of trials differ.
        """
        found = dict(told or {})
        if sorted(found) != sorted(self.shapes):
            known = sorted(self.shapes) or "nothing"
            raise ValueError(f"this prior is told {known} beside the brain embedding, got {sorted(found)}.")
        for name, values in found.items():
            check_shape(f"told[{name!r}]", values, self.shapes[name])
            if len(values) != n_trials:
                raise ValueError(
                    f"told[{name!r}] has {len(values)} along axis 'trial' but brain_embedding has {n_trials}; "
                    "they must match."
                )
        return {name: found[name] for name in self.shapes}


def repeated(told: Told | None, n: int) -> dict[str, Tensor]:
    """What is told, all trials `n` times over."""
    return {name: values.repeat(n, 1, 1) for name, values in (told or {}).items()}


def scale_of(values: Tensor) -> Tensor:
    """SD of every value over trials; 1 for a value that does not vary."""
    sd = values.std(0)
    return torch.where(sd > 1e-6 * sd.max(), sd, torch.ones_like(sd))


def check_pairs(brain_embedding: Tensor, image_embedding: Tensor, shape: tuple[int, int]) -> None:
    """Refuses embeddings that are not pairs of this shape."""
    checks.same_length("trial", brain_embedding=brain_embedding, image_embedding=image_embedding)
    for name, values in (("brain_embedding", brain_embedding), ("image_embedding", image_embedding)):
        check_shape(name, values, shape)


def check_shape(name: str, values: Tensor, shape: tuple[int, int]) -> None:
    """Refuses embeddings (n_trials, n_tokens, n_dims) of another shape than the prior was built for."""
    checks.n_axes(name, values, ("trial", "token", "dim"))
    if tuple(values.shape[1:]) != tuple(shape):
        raise ValueError(
            f"{name} has items of shape {tuple(values.shape[1:])}, this prior was built for {shape}."
        )


def check_started(n_pairs: Tensor) -> None:
    """Refuses a prior that has seen no training set; `n_pairs` is its count of training pairs."""
    if int(n_pairs) == 0:
        raise ValueError(
            "this prior knows no training set yet; call start_(brain_embedding, image_embedding) first."
        )
