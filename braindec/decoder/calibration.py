"""From raw outputs to calibrated embeddings: the linear map that out-of-fold predictions ask for, and its error.

A contrastive loss leaves length and shear of its outputs free. Regressing the truth on what encoders predicted for
stimuli they never saw gives the best linear estimate of the embedding; the covariance of its error says how far a
candidate may lie from it in each direction.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.decoder.prediction import Direction
from braindec.maths import covariance, folds, nearest, ridge
from braindec.maths.factors import factorise

ALPHAS = tuple(float(a) for a in torch.logspace(-2, 6, 9))
SHRINKAGES = (0.05, 0.1, 0.2, 0.4, 0.7)  # of the covariances towards a multiple of the identity


WAYS = ("cosine", "whitened", "evidence")


class Option(NamedTuple):
    """One way to calibrate and compare.

    mapped: outputs are mapped linearly, not only scaled. way: candidates are compared by the cosine, by the cosine
    after the error is whitened, or by evidence. share: shrinkage of the covariances. borrowed: the error's shape is
    that of other subjects with more data. direction: whether images or responses are looked for.
    """

    mapped: bool
    way: str = "cosine"
    share: float = SHRINKAGES[0]
    borrowed: bool = False
    direction: Direction = "image"


# Of equals the first, simplest one is taken.
OPTIONS = tuple(
    option
    for mapped in (False, True)
    for option in (Option(mapped), *(Option(mapped, "evidence", share) for share in reversed(SHRINKAGES)))
)
BORROWED = tuple(Option(mapped, "evidence", share, True) for mapped in (False, True) for share in (0.2, 0.05))
QUICK = (Option(False), Option(True), Option(True, "evidence", 0.2))  # enough to compare encoders by
MAX_DIMS = 4096  # a covariance of more would cost over 128 MiB and minutes
MIN_ROWS = 20


class Calibration(nn.Module):
    """Calibration of one subject's flattened outputs (n, dim).

    Attributes
    ----------
    weight, bias : Tensor, shapes (dim, dim), (dim,)
        Raw output to embedding.
    error, prior : Tensor, shape (dim, dim)
        Covariance of the error of a calibrated embedding, and of the embeddings themselves.
    image_way, brain_way : int Tensor, shape ()
        Position in `WAYS`: how candidates are compared where the image of a response is looked for, and where the
        response to an image is; whichever told left-out training stimuli apart.
    image_share, brain_share : Tensor, shape ()
        Shrinkage of both covariances for that.
    """

    weight: Tensor
    bias: Tensor
    error: Tensor
    prior: Tensor

    def __init__(self, n_dims: int):
        super().__init__()
        self.check(n_dims)
        self.register_buffer("weight", torch.eye(n_dims))
        self.register_buffer("bias", torch.zeros(n_dims))
        for name in ("error", "prior"):
            self.register_buffer(name, torch.eye(n_dims))
        for name in ("image", "brain"):
            self.register_buffer(f"{name}_way", torch.tensor(0))
            self.register_buffer(f"{name}_share", torch.tensor(SHRINKAGES[0], dtype=torch.float64))

    @staticmethod
    def check(n_dims: int) -> None:
        """Refuses embeddings of more values than a covariance is made of."""
        if n_dims > MAX_DIMS:
            raise checks.ConfigError(
                f"calibrate takes embeddings of at most {MAX_DIMS} values, got {n_dims}; set calibrate=false."
            )

    def compare_(
        self,
        raw: Tensor,
        truth: Tensor,
        generator: torch.Generator,
        options: Sequence[Option] = OPTIONS,
        others: Sequence[Calibration] = (),
    ) -> Tensor:
        """Reciprocal rank (n_options, n) of stimuli left out of the calibration itself (which it changes)."""
        n = checks.same_length("stimulus", raw=raw, truth=truth)
        checks.at_least("stimuli to calibrate with", n, MIN_ROWS)
        ranks = torch.zeros(len(options), n, dtype=torch.float64)
        for held in folds.folds_by_count(n, 3, generator):
            kept = folds.complement(n, held)
            ranks[:, held] = self._compared(raw[kept], truth[kept], raw[held], truth[held], options, others)
        return ranks

    def fit_(
        self, raw: Tensor, truth: Tensor, generator: torch.Generator, others: Sequence[Calibration] = ()
    ) -> None:
        """Takes map and error from out-of-fold outputs and their truth, each (n, dim), one row a stimulus.

        Whether outputs are mapped or only scaled, how candidates are compared and how far covariances are shrunken is
        chosen by how well stimuli left out of the calibration itself are told apart, for responses looked for as for
        images. `others` are calibrations of subjects with more data, whose error may be borrowed in shape.
        """
        image = (*OPTIONS, *BORROWED) if others else OPTIONS
        brain = brain_options([False, True] if others else [False])
        ranks = self.compare_(raw, truth, generator, (*image, *brain), others)
        best = image[int(ranks[: len(image)].mean(1).argmax())]
        rows = [i for i, o in enumerate(brain) if (o.mapped, o.borrowed) == (best.mapped, best.borrowed)]
        simplest = brain[rows[_first_within_error(ranks[len(image) :][rows])]]
        self._solve_(raw, truth, mapped=best.mapped)
        if best.borrowed:
            self._borrow_(others)
        self._choose_(best)
        self._choose_(simplest)

    def refitted(self, raw: Tensor, truth: Tensor) -> Calibration:
        """The same kind of map from other outputs and their truth, each (n, dim); compares as this one does."""
        new = copy.deepcopy(self)
        scaled = torch.equal(self.weight, self.weight[0, 0] * torch.eye(len(self.weight)).to(self.weight))
        new._solve_(raw, truth, mapped=not (scaled and not bool(self.bias.any())))
        return new

    def know_(self, error: Tensor, prior: Tensor, share: float) -> None:
        """Takes outputs as they are, with covariances (dim, dim) that are known: a posterior's and the embeddings'."""
        self.error.copy_(error)
        self.prior.copy_(prior)
        self._choose_(Option(False, "evidence", share))
        self._choose_(Option(False, "whitened", share, direction="brain"))

    def forward(self, raw: Tensor) -> Tensor:
        """Calibrated embeddings (n, dim)."""
        return raw @ self.weight.T + self.bias

    def similarity(self, embedding: Tensor, candidates: Tensor, direction: Direction = "image") -> Tensor:
        """How well each candidate fits each embedding, (n, m), higher is better, compared in the way that was chosen.

        Parameters
        ----------
        embedding : Tensor, shape (n, dim)
            Calibrated, centred.
        candidates : Tensor, shape (m, dim)
            Centred.
        direction : ``"image"`` or ``"brain"``
            What is looked for: see `BrainDecoder.similarity`.
        """
        way = WAYS[int(self.get_buffer(f"{direction}_way"))]
        if way == "cosine":
            return nearest.similarity(embedding, candidates)
        error, prior = self.covariances(float(self.get_buffer(f"{direction}_share")))
        if way == "whitened":
            return whitened_cosine(embedding, candidates, error)
        return evidence(embedding, candidates, error, prior)

    def covariances(self, share: float) -> tuple[Tensor, Tensor]:
        """Error and prior (dim, dim), shrunken alike towards a multiple of the identity."""
        return covariance.shrink(self.error.double(), share), covariance.shrink(self.prior.double(), share)

    def _choose_(self, option: Option) -> None:
        """Compares in one direction as an option says."""
        self.get_buffer(f"{option.direction}_way").fill_(WAYS.index(option.way))
        self.get_buffer(f"{option.direction}_share").fill_(option.share)

    def _solve_(self, raw: Tensor, truth: Tensor, *, mapped: bool) -> None:
        x, y = raw.double(), truth.double()
        if mapped:
            factors = factorise(x, "loo")
            fit = ridge.solve(factors, y, ALPHAS, score="neg_mse")
            left = y - ridge.held_out_predictions(factors, y, fit.alpha)
            self.weight.copy_(fit.weights.T)
            self.bias.copy_(fit.intercept)
        else:
            gain = (x * y).sum() / x.square().sum().clamp_min(1e-12)
            left = y - gain * x
            self.weight.copy_(gain * torch.eye(x.shape[1]))
            self.bias.zero_()
        self.error.copy_(left.T @ left / len(left))
        self.prior.copy_(y.T.cov(correction=0))

    def _borrow_(self, others: Sequence[Calibration]) -> None:
        """Takes the shape of the error, and the prior, from subjects with more data."""
        borrowed = [other.covariances(float(other.get_buffer("image_share"))) for other in others]
        error = torch.stack([e for e, _ in borrowed]).mean(0)
        self.error.copy_(error * (self.error.trace() / error.trace()))
        self.prior.copy_(torch.stack([p for _, p in borrowed]).mean(0))

    def _compared(
        self, raw: Tensor, truth: Tensor, held_raw: Tensor, held_truth: Tensor,
        options: Sequence[Option], others: Sequence[Calibration],
    ) -> Tensor:  # fmt: skip
        """Reciprocal ranks of held-out rows with each option: (n_options, n_held)."""
        gallery, own = held_truth.unique(dim=0, return_inverse=True)
        ranks = torch.zeros(len(options), len(held_raw), dtype=torch.float64)
        for mapped, borrowed in sorted({(option.mapped, option.borrowed) for option in options}):
            self._solve_(raw, truth, mapped=mapped)
            if borrowed:
                self._borrow_(others)
            embedding, made = self(held_raw), {}  # both directions look at the same tables
            for row, option in enumerate(options):
                if (option.mapped, option.borrowed) == (mapped, borrowed):
                    if option[1:3] not in made:
                        self._choose_(option)
                        made[option[1:3]] = self.similarity(embedding, gallery, option.direction)
                    found = made[option[1:3]]
                    ranks[row] = (_image_ranks if option.direction == "image" else _brain_ranks)(found, own)
        return ranks


def brain_options(borrowed: Sequence[bool]) -> tuple[Option, ...]:
    """Ways to look for responses, those that make least of a prediction's length first.

    Its length tells how well a trial was attended as well as what was seen, so the cosines leave it out; evidence,
    which takes it for what was seen, is for where that clearly tells responses apart.
    """
    return tuple(
        Option(mapped, way, share, lent, "brain")
        for lent in borrowed
        for mapped in (False, True)
        for way in WAYS
        for share in (reversed(SHRINKAGES) if way != "cosine" else SHRINKAGES[:1])
    )


def evidence(embedding: Tensor, candidates: Tensor, error: Tensor, prior: Tensor) -> Tensor:
    """log p(candidate | embedding) - log p(candidate) for every pair, up to one constant: (n, m).

    Error and embeddings are taken as Gaussian, zero mean, with covariances `error` and `prior` (dim, dim). Comparable
    along both axes: of candidates for one response, and of responses for one candidate.
    """
    precision = torch.linalg.inv(error.double())
    x, z = embedding.double(), candidates.double()
    cross = x @ precision @ z.T
    own = 0.5 * ((x @ precision) * x).sum(1)
    candidate = 0.5 * ((z @ (precision - torch.linalg.inv(prior.double()))) * z).sum(1)
    return (cross - own[:, None] - candidate[None]).float()


def whitened_cosine(embedding: Tensor, candidates: Tensor, error: Tensor) -> Tensor:
    """Cosine (n, m) of embeddings and candidates where the error, covariance (dim, dim), is alike in all directions."""
    precision = torch.linalg.inv(error.double())
    x, z = embedding.double(), candidates.double()
    lengths = [((v @ precision) * v).sum(1).clamp_min(1e-30).sqrt() for v in (x, z)]
    return (x @ precision @ z.T / lengths[0][:, None] / lengths[1][None]).float()


def _image_ranks(similarity: Tensor, own: Tensor) -> Tensor:
    """Reciprocal rank (n,) of each row's own candidate."""
    better, tied = nearest.ranks_in(similarity, own)
    return 1 / (1 + nearest.mid_ranks(better, tied))


def _brain_ranks(similarity: Tensor, own: Tensor) -> Tensor:
    """Reciprocal rank (n,) of each row among the rows of other candidates, by similarity to its own candidate."""
    others = similarity[:, own].T  # (row, rows): how well each row fits this row's candidate
    same = (own[:, None] == own[None]) & ~torch.eye(len(own), dtype=torch.bool)
    lowest = others.amin() - 1
    return _image_ranks(others.masked_fill(same, float(lowest)), torch.arange(len(own)))


def _first_within_error(ranks: Tensor) -> int:
    """First row of (n_options, n) whose mean is within one standard error of the best one's, paired over columns."""
    lost = ranks[ranks.mean(1).argmax()] - ranks
    near = lost.mean(1) <= lost.std(1) / lost.shape[1] ** 0.5
    return int(near.to(torch.uint8).argmax())


def held_out_rank(raw: Tensor, truth: Tensor, generator: torch.Generator) -> float:
    """How well flattened outputs (n, dim) tell stimuli apart once calibrated: mean reciprocal rank."""
    return float(Calibration(truth.shape[1]).compare_(raw, truth, generator, QUICK).mean(1).max())
