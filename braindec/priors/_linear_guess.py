"""The Gaussian that linear regression leaves an image embedding to be, given a brain embedding and given none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.maths import covariance, ridge
from braindec.maths.factors import factorise
from braindec.maths.folds import folds_by_group

ALPHAS = tuple(
    float(a) for a in torch.logspace(-4, 4, 9)
)  # in units of the features' mean squared singular value
N_FOLDS = 5


class LinearGuess(nn.Module):
    """Mean and covariance of images (n, n_values), all of mean zero, given features (n, n_known) or nothing.

    Both covariances are diagonal in one basis: that without a brain is the identity there, that with one `share`.

    Attributes
    ----------
    weight : Tensor, shape (n_known, n_values)
    bias : Tensor, shape (n_values,)
    basis, to_basis : Tensor, shape (n_values, n_values)
        Image = coordinates @ basis.T; coordinates = image @ to_basis.T.
    share : Tensor, shape (n_values,)
        Of each coordinate's variance, what the features leave open, by cross-validation.
    inflation : Tensor, shape ()
        Held-out error over error on the training rows, as SDs.
    """

    weight: Tensor
    bias: Tensor
    basis: Tensor
    to_basis: Tensor
    share: Tensor
    inflation: Tensor

    def __init__(self, n_known: int, n_values: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_known, n_values))
        self.register_buffer("bias", torch.zeros(n_values))
        for name in ("basis", "to_basis"):
            self.register_buffer(name, torch.eye(n_values))
        self.register_buffer("share", torch.ones(n_values))
        self.register_buffer("inflation", torch.ones(()))

    def fit_(self, features: Tensor, images: Tensor, scale: Tensor) -> None:
        """Solves the regression; its error is that of rows whose image no row of the fit shows.

        The first features are predictions of the image already: weights are drawn not towards zero but towards these
        times one number, so that few pairs do not lose what was predicted. Covariances are shrunken by the Ledoit-Wolf
        amount.

        Parameters
        ----------
        features : Tensor, shape (n, n_known)
        images : Tensor, shape (n, n_values)
        scale : Tensor, shape (n_values,)
            What the first n_values features are multiplied by to be in the units of the images.
        """
        x, y = features.double(), images.double()
        told = x[:, : y.shape[1]] * scale.double()
        gain = (told * y).sum() / told.square().sum().clamp_min(1e-30)
        image = y.unique(dim=0, return_inverse=True)[1]
        n_images = int(image.max()) + 1
        checks.at_least("different training images", n_images, 2)
        factors = factorise(x, folds_by_group(image % min(N_FOLDS, n_images)))
        unit = float((x - x.mean(0)).square().sum()) / min(x.shape)
        missing = y - gain * told
        fit = ridge.solve(factors, missing, [alpha * unit for alpha in ALPHAS], score="neg_mse")
        left = missing - ridge.held_out_predictions(factors, missing, fit.alpha)
        inside = missing - ridge.ridge_predict(x, fit)
        self.weight.copy_(fit.weights)
        self.weight[: y.shape[1]] += torch.diag(gain * scale.double()).to(self.weight)
        self.bias.copy_(fit.intercept)
        self.inflation.copy_((left.square().sum() / inside.square().sum().clamp_min(1e-30)).sqrt())
        self._diagonalise_(
            covariance.ledoit_wolf(y).matrix, covariance.ledoit_wolf(left, centred=True).matrix
        )

    def _diagonalise_(self, without: Tensor, given: Tensor) -> None:
        values, vectors = torch.linalg.eigh(without)
        # A value that never varies keeps a little width, so that every image has coordinates.
        root = values.clamp_min(1e-6 * float(values[-1])).sqrt()
        whiten = (vectors / root) @ vectors.T
        share, turn = torch.linalg.eigh(whiten @ given @ whiten)
        self.share.copy_(share.clamp_min(1e-6))
        self.basis.copy_((vectors * root) @ vectors.T @ turn)
        self.to_basis.copy_(turn.T @ whiten)

    def mean(self, features: Tensor) -> Tensor:
        """What regression expects, (n, n_values)."""
        return features @ self.weight + self.bias

    def guided(self, features: Tensor, guidance: float) -> tuple[Tensor, Tensor]:
        """Coordinates of the mean (n, n_values) and their SDs (n_values,) at a strength of guidance.

        The density is p(image) (p(image | brain) / p(image))^guidance, which is Gaussian too: at 0 nothing is known, 1
        is the guess itself, above 1 it lies further out and is narrower. A direction that the brain leaves as open as
        it was, or wider, is not narrowed.
        """
        if guidance == 0.0:
            return self.bias.new_zeros(len(features), len(self.bias)), torch.ones_like(self.share)
        mean = self.mean(features) @ self.to_basis.T
        if guidance == 1.0:
            return mean, self.share.sqrt()
        share = self.share.clamp_max(1.0)
        precision = 1 + guidance * (1 / share - 1)
        return guidance * mean / share / precision, precision.rsqrt()
