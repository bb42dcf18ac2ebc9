"""Centred kernel alignment: how alike the similarities among stimuli are, under linear and Gaussian kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from braindec.maths.cka import aligned, biased_hsic, linear_hsic, rbf_kernel, unbiased_hsic
from braindec.similarity import Measure, two_steps

WIDTH = 0.5  # of the Gaussian, of the median distance; Kornblith et al. 2019 report 0.2 to 0.8
SOURCE = "Kornblith et al. 2019, arXiv:1905.00414"
UNBIASED = "unbiased HSIC of Song et al. 2012 as in Nguyen et al. 2020, arXiv:2010.15327"

Side = tuple[Tensor, Tensor]  # features or kernel, and its dependence on itself


def _linear(debiased: bool) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    hsic = partial(linear_hsic, debiased=debiased)

    def prepare(x: Tensor) -> Side:
        centred = x - x.mean(0)
        return centred, hsic(centred, centred)

    def compare(a: Side, b: Side) -> Tensor:
        return aligned(hsic(a[0], b[0]), a[1], b[1])

    return two_steps(prepare, compare, lambda side, order: (side[0][order], side[1]))


def _gaussian(
    hsic: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    def prepare(x: Tensor) -> Side:
        kernel = rbf_kernel(x, WIDTH)
        return kernel, hsic(kernel, kernel)

    def compare(a: Side, b: Side) -> Tensor:
        return aligned(hsic(a[0], b[0]), a[1], b[1])

    return two_steps(prepare, compare, lambda side, order: (side[0][order][:, order], side[1]))


def _measure(
    name: str, made: tuple[Callable[..., Tensor], Callable[..., Tensor]], source: str, *, debiased: bool
) -> Measure:
    limits = (-1.0, 1.0) if debiased else (0.0, 1.0)
    chance = (lambda n: 0.0) if debiased else None
    return Measure(
        name, made[0], True, "permuted_stimuli", source, range=limits, fewest=5, chance=chance, under=made[1]
    )


MEASURES = {
    m.name: m
    for m in (
        _measure("cka", _linear(True), f"{SOURCE}, linear; {UNBIASED}", debiased=True),
        _measure("cka_biased", _linear(False), f"{SOURCE}, equation 4", debiased=False),
        _measure("cka_rbf", _gaussian(unbiased_hsic), f"{SOURCE}, Gaussian of {WIDTH} median distances; {UNBIASED}",
                 debiased=True),
        _measure("cka_rbf_biased", _gaussian(biased_hsic), f"{SOURCE}, Gaussian of {WIDTH} median distances",
                 debiased=False),
    )
}  # fmt: skip
