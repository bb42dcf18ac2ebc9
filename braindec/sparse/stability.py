"""How much of a dictionary is found again with another seed, over all thresholds, beside what chance would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.matching import Matched, Nulled, cosines, exchanged, match, rotation

SHARED_FROM = 0.7  # Paulo and Belrose 2025, arXiv:2501.16615
THRESHOLDS = tuple(i / 20 for i in range(20))


@dataclass(frozen=True, eq=False)
class Stability:
    """What two dictionaries of the same inputs share; its nulls are ``"rotated"`` and ``"shuffled"``.

    Parameters
    ----------
    n_pairs : int
        Latents of the smaller dictionary.
    thresholds : Tensor, shape (n_thresholds,)
        Cosines.
    shared : Nulled, of shape (n_thresholds,)
        Share of pairs on which encoder and decoder agree, with a cosine above the threshold in both.
    mcc, mmcs : Nulled, of shape ()
        Mean cosine of atoms paired one to one, and with their nearest (`matching`).
    encoder, decoder : Matched
        The pairs that either gives.
    """

    n_pairs: int
    thresholds: Tensor
    shared: Nulled
    mcc: Nulled
    mmcs: Nulled
    encoder: Matched
    decoder: Matched

    def at(self, threshold: float = SHARED_FROM) -> tuple[float, float]:
        """Share at the threshold nearest to this one, and its null."""
        i = int((self.thresholds - threshold).abs().argmin())
        return float(self.shared.value[i]), float(self.shared.null[i])


def stability(
    a: Dictionary,
    b: Dictionary,
    *,
    frequency: Tensor,
    generator: torch.Generator,
    thresholds: Sequence[float] = THRESHOLDS,
    n_draws: int = 19,
) -> Stability:
    """What two dictionaries share by direction, with two nulls.

    Parameters
    ----------
    a, b : Dictionary
        Of the same inputs, of any widths. Latents that never learned anything count, and are not shared.
    frequency : Tensor, shape (n_latents_b,)
        How often each latent of `b` is active (`dictionary.frequencies`), for the shuffle.
    generator : torch.Generator
        On the CPU.
    thresholds : sequence of float
    n_draws : int
        Of each null. ``"rotated"`` turns encoder and atoms of `b` together at random and pairs anew, so it costs two
        pairings a draw; ``"shuffled"`` gives each latent the partner of another one that is about as often active.

    Raises
    ------
    ValueError
        If `frequency` has another length.

    Notes
    -----
    Paulo and Belrose 2025, arXiv:2501.16615: shared are latents to which pairing by encoder and pairing by decoder give
    the same partner with a cosine above 0.7.
    """
    checks.same_length("latent", atoms=b.atoms, frequency=frequency)
    at = torch.tensor(tuple(thresholds))
    encoder, decoder = cosines(a.encoder, b.encoder), cosines(a.atoms, b.atoms)
    pairs = match(encoder), match(decoder)
    rotated, shuffled = [], []
    for _ in range(n_draws):
        turn = rotation(b.atoms.shape[1], generator).to(b.atoms)
        turned = cosines(a.encoder, b.encoder.detach() @ turn), cosines(a.atoms, b.atoms.detach() @ turn)
        rotated.append(_numbers(*turned, at, (match(turned[0]), match(turned[1]))))
        shuffled.append(_shuffled(encoder, decoder, at, pairs[1], frequency, generator))
    real = _numbers(encoder, decoder, at, pairs)
    shared, mcc, mmcs = (
        Nulled(
            value,
            {
                "rotated": torch.stack([r[i] for r in rotated]),
                "shuffled": torch.stack([s[i] for s in shuffled]),
            },
        )
        for i, value in enumerate(real)
    )
    return Stability(len(pairs[1].first), at, shared, mcc, mmcs, *pairs)


def _numbers(
    encoder: Tensor, decoder: Tensor, thresholds: Tensor, pairs: tuple[Matched, Matched]
) -> tuple[Tensor, Tensor, Tensor]:
    """Shares at all thresholds, MCC and MMCS, on the CPU."""
    by_encoder, by_decoder = pairs
    partner = torch.full((len(encoder),), -1, dtype=torch.int64, device=encoder.device)
    partner[by_encoder.first] = by_encoder.second
    agreed = partner[by_decoder.first] == by_decoder.second
    in_encoder = encoder[by_decoder.first, by_decoder.second]
    least = torch.minimum(in_encoder, by_decoder.similarity).masked_fill(~agreed, -torch.inf)
    return _above(least, thresholds), by_decoder.similarity.mean().cpu(), decoder.amax(1).mean().cpu()


def _shuffled(
    encoder: Tensor,
    decoder: Tensor,
    thresholds: Tensor,
    pairs: Matched,
    frequency: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same numbers where every latent gets the partner of another one."""
    other = exchanged(frequency.to(decoder.device), generator)
    paired, nearest = other[pairs.second], other[decoder.argmax(1)]
    in_decoder = decoder[pairs.first, paired]
    least = torch.minimum(encoder[pairs.first, paired], in_decoder)
    of_nearest = decoder.gather(1, nearest[:, None]).mean()
    return _above(least, thresholds), in_decoder.mean().cpu(), of_nearest.cpu()


def _above(values: Tensor, thresholds: Tensor) -> Tensor:
    return (values.cpu()[:, None] > thresholds).float().mean(0)
