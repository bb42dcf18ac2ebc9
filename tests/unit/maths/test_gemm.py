"""Products of float32 matrices: the value of torch's own product, whichever kernel makes it."""

from __future__ import annotations

import time

import pytest
import torch

from braindec.maths import gemm


def pair(m, k, n, dtype=torch.float32):
    generator = torch.Generator().manual_seed(m + k + n)
    return (torch.randn(size, generator=generator, dtype=dtype) for size in ((m, k), (k, n)))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (96, 96, 96), (200, 300, 150), (97, 1001, 130), (24, 512, 1024), (3, 15724, 130)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_is_the_product_in_float64_to_float32_accuracy(shape, turned):
    a, b = pair(*shape)
    if turned:
        a, b = a.T.contiguous().T, b.T.contiguous().T
    exact = a.double() @ b.double()
    assert float((gemm.mm(a, b) - exact).abs().max() / exact.abs().max()) < gemm.TOLERANCE


def test_rows_and_columns_of_larger_matrices_are_multiplied_as_they_stand():
    a, b = pair(300, 400, 500)
    found = gemm.mm(a[50:250, 100:350], b[100:350, ::2])
    torch.testing.assert_close(found, a[50:250, 100:350] @ b[100:350, ::2], rtol=1e-4, atol=1e-4)


def test_a_part_of_a_matrix_is_not_left_to_the_slow_kernel():
    whole = torch.randn(512, 2048, generator=torch.Generator().manual_seed(0))
    part = whole[:, 256:768]
    dense = part.contiguous()
    seconds = []
    for b in (dense, dense, part):  # the first warms up
        start = time.perf_counter()
        gemm.mm(dense, b)
        seconds.append(time.perf_counter() - start)
    assert seconds[2] < 100 * seconds[1]  # the slow kernel takes 2,000 times as long


def test_float64_is_torch_s_own_product_to_the_bit():
    a, b = pair(200, 200, 200, torch.float64)
    assert torch.equal(gemm.mm(a, b), a @ b)


def test_a_gradient_flows_through_the_product():
    a, b = pair(128, 128, 128)
    a.requires_grad_()
    gemm.mm(a, b).sum().backward()
    torch.testing.assert_close(a.grad, b.sum(1).expand(128, 128))


def test_a_kernel_that_rounds_to_bfloat16_is_not_used(monkeypatch):
    rounded = lambda a, b: a.bfloat16().float() @ b.bfloat16().float()  # noqa: E731
    monkeypatch.setattr(gemm, "_onednn", rounded)
    gemm._trusted.cache_clear()
    try:
        a, b = pair(200, 200, 200)
        assert not gemm.onednn_is_used() and not gemm.pays(a, b)
        assert torch.equal(gemm.mm(a, b), a @ b)
    finally:
        gemm._trusted.cache_clear()


def test_a_bias_is_added_to_every_row():
    a, b = pair(200, 300, 150)
    bias = torch.randn(150, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gemm.plus(a, b, bias), gemm.mm(a, b) + bias, rtol=1e-5, atol=1e-5)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="along axis 'k'"):
        gemm.mm(torch.zeros(2, 3), torch.zeros(4, 2))
