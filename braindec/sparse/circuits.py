"""A latent followed into the next layer: what ablation changes there, beside random latents and dormant pathways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.dictionary import Dictionary, activations

Layer = Callable[[Tensor], Tensor]
RIDGE = 1e-4  # of the mean square of a latent's activation


@dataclass(frozen=True, eq=False)
class Effects:
    """What ablated latents did to those of the next layer, in samples in which they were active.

    Parameters
    ----------
    latents : tuple of int
    ablated : Tensor, shape (n_asked, n_after)
        Mean activation with the latent less that without it. NaN where a latent is never active.
    natural : Tensor, shape (n_asked, n_after)
        The same where the input is moved by what inputs do when the latent moves, and not by its atom. An atom may hold
        a direction that the next layer reads and along which inputs never vary: `ablated` is large then, and this is
        not.
    random : Tensor, shape (n_draws, n_asked, n_after)
        The same where another latent's atom is taken away, as long as the latent's own part.
    n : Tensor of int64, shape (n_asked,)
        Samples.
    """

    latents: tuple[int, ...]
    ablated: Tensor
    natural: Tensor
    random: Tensor
    n: Tensor

    @property
    def size(self) -> Tensor:
        """Length of the whole change in the next layer's latents, (n_asked,)."""
        return self.ablated.norm(dim=1)

    @property
    def dormant(self) -> Tensor:
        """Share of the change that inputs' own way of moving does not make, (n_asked,) in [0, inf): 0 is sound."""
        return (self.ablated - self.natural).norm(dim=1) / self.size.clamp_min(
            torch.finfo(self.ablated.dtype).tiny
        )

    @property
    def p(self) -> Tensor:
        """Chance that another latent's removal does as much, (count + 1) / (n_draws + 1), (n_asked, n_after).

        NaN where a latent is never active.
        """
        counts = (self.random.abs() >= self.ablated.abs()).sum(0)
        return torch.where(self.ablated.isnan(), torch.nan, (counts + 1) / (len(self.random) + 1))


@torch.no_grad()
def effects(
    before: Dictionary, layer: Layer, after: Dictionary, inputs: Tensor, latents: Sequence[int], *,
    generator: torch.Generator, n_draws: int = 19,
) -> Effects:  # fmt: skip
    """The effect of each latent of one layer on every latent of the next.

    Parameters
    ----------
    before : Dictionary
        Of the layer's inputs, in eval mode.
    layer : callable
        From inputs (n, n_dims) to outputs (n, n_outputs): one layer, or all up to the one asked about.
    after : Dictionary
        Of its outputs, in eval mode.
    inputs : Tensor, shape (n_samples, n_dims)
        On which neither was trained.
    latents : sequence of int
        Of `before`.
    generator : torch.Generator
        On the CPU; draws the other latents.
    n_draws : int

    Notes
    -----
    Ablation is by taking the latent's part away and leaving all else, the dictionary's error included. What inputs do
    when a latent moves is the latent's row in the regression of inputs on all activations. Makelov et al. 2023,
    arXiv:2311.17030: a direction through inputs can work through a pathway that is dormant in the data.
    """
    checks.at_least("n_draws", n_draws, 1)
    for latent in latents:
        checks.in_range("latent", latent, 0, before.n_latents - 1)
    codes, base = activations(before, inputs), activations(after, layer(inputs))
    moves = _moves(codes, inputs)
    ablated, natural, random, counts = [], [], [], []
    for latent in latents:
        rows = torch.nonzero(codes[:, latent] != 0).squeeze(1)
        amount, x, y = codes[rows, latent][:, None], inputs[rows], base[rows]
        length = before.atoms[latent].norm()

        def change(direction: Tensor, amount: Tensor = amount, x: Tensor = x, y: Tensor = y) -> Tensor:
            return (y - activations(after, layer(x - amount * direction))).mean(0)

        ablated.append(
            change(before.atoms[latent]) if len(rows) else base.new_full((base.shape[1],), torch.nan)
        )
        natural.append(change(moves[latent]) if len(rows) else ablated[-1])
        others = _others(before.n_latents, latent, n_draws, generator)
        directions = torch.nn.functional.normalize(before.atoms[others], dim=1) * length
        random.append(torch.stack([change(d) if len(rows) else ablated[-1] for d in directions]))
        counts.append(len(rows))
    return Effects(
        tuple(latents), torch.stack(ablated), torch.stack(natural), torch.stack(random, 1), torch.tensor(counts)
    )  # fmt: skip


def _moves(codes: Tensor, inputs: Tensor) -> Tensor:
    """What inputs do when each latent moves by one, others held: (n_latents, n_dims)."""
    f, x = (v.double() - v.double().mean(0) for v in (codes, inputs))
    gram = f.T @ f
    gram.diagonal().add_(RIDGE * float(f.square().sum() / f.shape[1]) + 1e-12)
    return torch.linalg.solve(gram, f.T @ x).to(inputs.dtype)


def _others(n: int, latent: int, n_draws: int, generator: torch.Generator) -> Tensor:
    """Latents other than one, drawn with replacement."""
    drawn = torch.randint(0, max(1, n - 1), (n_draws,), generator=generator)
    return drawn + (drawn >= latent) if n > 1 else drawn
