"""How far two sets of points are apart once they are rotated onto each other, without ever finding the rotation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.cka import cross_products

SAFE = 1e-10  # relative error of the nuclear norm by eigenvalues, above which singular values are computed
ROWS_AT_ONCE = 2048
RELATIVE_RANK = 1e-12  # of eigenvalues of a Gram matrix; smaller ones are rounding


def nuclear_norm(x: Tensor, y: Tensor) -> Tensor:
    """Sum of the singular values of X^T Y: the largest inner product of Y with any rotation of X.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    y : Tensor, shape (n, q)
        Either is taken about its mean.

    Returns
    -------
    Tensor, shape (), float64

    Notes
    -----
    Square roots of the eigenvalues of the smaller Gram matrix of X^T Y, which take a third of the time of singular
    values, wherever the bound of their rounding error is below 1e-10 of the sum; else the singular values themselves.
    Fewer rows than features are first brought into the row space.
    """
    checks.same_length("row", x=x, y=y)
    return _nuclear_norm(_centred(x), _centred(y))


def _nuclear_norm(a: Tensor, b: Tensor) -> Tensor:
    return _sum_of_singular_values(_product(a, b))


def _product(x: Tensor, y: Tensor) -> Tensor:
    """X^T Y of centred sides, or a matrix of the same singular values, float64."""
    if len(x) < min(x.shape[1], y.shape[1]):
        return _row_space(x).T @ _row_space(y)
    if not (_by_numpy(x) and _by_numpy(y)):
        return cross_products(x, y)
    a, b = x.numpy(), y.numpy()
    if a.dtype == b.dtype == np.float64:
        return torch.from_numpy(a.T @ b)
    total = np.zeros((x.shape[1], y.shape[1]))
    for start in range(0, len(a), ROWS_AT_ONCE):  # single precision is added up in double
        total += a[start : start + ROWS_AT_ONCE].T @ b[start : start + ROWS_AT_ONCE]
    return torch.from_numpy(total)


def _sum_of_singular_values(product: Tensor) -> Tensor:
    values = _squared_singular_values(product if len(product) <= product.shape[1] else product.T)
    largest = values[-1:].clamp_min(0.0).squeeze()
    roots = values.clamp_min(torch.finfo(values.dtype).eps * largest).sqrt()
    error = len(values) * torch.finfo(values.dtype).eps * largest * (0.5 / roots.clamp_min(1e-300)).sum()
    if bool(error <= SAFE * roots.sum()):
        return roots.sum()
    return torch.linalg.svdvals(product).sum()


def procrustes_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine between Y and the best rotation (or reflection) of X, both about their means.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    y : Tensor, shape (n, q)
        The side with fewer features counts as padded with zeros.

    Returns
    -------
    Tensor, shape (), float64
        ||X^T Y||_* / (||X|| ||Y||), in [0, 1]; 0 where a side is constant.
    """
    a, b = _centred(x), _centred(y)
    scale = _length(a) * _length(b)
    return (_nuclear_norm(a, b) / scale).clamp(0.0, 1.0) if bool(scale > 0) else scale


def procrustes_distance(x: Tensor, y: Tensor, *, scaled: bool = True) -> Tensor:
    """Smallest distance of Y to a rotation of X, both about their means.

    Parameters
    ----------
    x, y : Tensor, shapes (n, p) and (n, q)
    scaled : bool
        Both sides are first given length one: in [0, sqrt(2)]. Else in the units of x and y.

    Returns
    -------
    Tensor, shape (), float64

    Notes
    -----
    d^2 = ||X||^2 + ||Y||^2 - 2 ||X^T Y||_*. Williams et al. 2021, arXiv:2110.14739, section 2.
    """
    if scaled:
        return (2 - 2 * procrustes_cosine(x, y)).clamp_min(0.0).sqrt()
    a, b = _centred(x), _centred(y)
    power = _length(a).square() + _length(b).square()
    return (power - 2 * _nuclear_norm(a, b)).clamp_min(0.0).sqrt()


def angular_distance(x: Tensor, y: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Angle between Y and the best rotation of X after partial whitening of both: a metric, in [0, pi / 2] radians.

    Parameters
    ----------
    x, y : Tensor, shapes (n, p) and (n, q)
    alpha : float
        In [0, 1]: 1 leaves the data as they are (Procrustes), 0 whitens them (the angle of canonical correlations).

    Returns
    -------
    Tensor, shape (), float64

    Notes
    -----
    Williams et al. 2021, arXiv:2110.14739, equations 8 and 11.
    """
    checks.in_range("alpha", alpha, 0.0, 1.0)
    if alpha < 1.0:
        x, y = partially_whitened(x, alpha), partially_whitened(y, alpha)
    return torch.arccos(procrustes_cosine(x, y))


def partially_whitened(x: Tensor, alpha: float) -> Tensor:
    """Rows about their mean with features partly decorrelated, of the same total variance.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    alpha : float
        In [0, 1]: each principal axis of length s (root of its sum of squares) is multiplied by
        alpha + (1 - alpha) / s, which depends on the units of x unless alpha is 0 or 1.

    Returns
    -------
    Tensor, shape (n, p) or, for alpha < 1, (n, rank), on principal axes
        A rotation of what the formula says, which no comparison up to rotations can tell from it.
    """
    checks.in_range("alpha", alpha, 0.0, 1.0)
    centred = x - x.mean(0)
    if alpha == 1.0:
        return centred
    u, s, _ = torch.linalg.svd(centred.double(), full_matrices=False)
    kept = s > max(RELATIVE_RANK, torch.finfo(x.dtype).eps * max(x.shape)) * s[:1]
    u, s = u[:, kept], s[kept]
    if not len(s):
        return torch.zeros(len(x), 1, dtype=x.dtype, device=x.device)
    mixed = alpha * s + (1 - alpha)
    return (u * mixed * (s.norm() / mixed.norm())).to(x.dtype)


def _row_space(x: Tensor) -> Tensor:
    """Square rows (n, n), float64, with the same inner products as rows (n, p), p > n."""
    return torch.linalg.qr(x.double().T, mode="r").R.T


def _squared_singular_values(wide: Tensor) -> Tensor:
    """Ascending eigenvalues of W W^T."""
    if _by_numpy(wide):
        rows = wide.numpy()
        return torch.from_numpy(np.linalg.eigvalsh(rows @ rows.T))
    return torch.linalg.eigvalsh(wide @ wide.T)


def _by_numpy(x: Tensor) -> bool:
    """Whether numpy does the algebra: its symmetric product is half the work of torch's, its eigenvalues are faster on
    processors without MKL's favour. Then it does all of it, because threads of two libraries wait for each other.
    """
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def _centred(x: Tensor) -> Tensor:
    if _by_numpy(x):
        rows = x.numpy()
        return torch.from_numpy(rows - rows.mean(0, dtype=np.float64).astype(rows.dtype))
    return x - x.mean(0)


def _length(x: Tensor) -> Tensor:
    if _by_numpy(x):
        rows = x.numpy()
        if rows.dtype == np.float64:
            return torch.tensor(np.vdot(rows, rows)).sqrt()  # four times as fast as a sum of products
        return torch.tensor(np.einsum("ij,ij->", rows, rows, dtype=np.float64)).sqrt()
    return x.double().norm()
