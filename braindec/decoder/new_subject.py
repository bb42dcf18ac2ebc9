"""A new subject in closed form: other subjects' weights as a prior, Bayes' rule as the decoder, no image shared.

Channels do not correspond between people, but the population of their weights over the embedding does; see
`maths.empirical_bayes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.data import NeuralDataset
from braindec.decoder import rows
from braindec.decoder.calibration import Calibration
from braindec.decoder.cross_fit import Sets
from braindec.decoder.fitting import SubjectSet
from braindec.maths import covariance
from braindec.maths import empirical_bayes as bayes

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

MAX_COORDINATES = 512  # of longer targets, the decoder's shared values are the coordinates
POPULATION_CHANNELS = 256  # of each known subject, evenly spaced: what the population is learnt from
POPULATION_ITERATIONS = 6
MAX_CHANNELS = (
    1024  # of a new subject, those with the most evidence: a matrix of so many squared is factorised
)
MIN_STIMULI = 10
SHARE = 0.2  # shrinkage of error and prior in comparing candidates, whose tails are heavier than a Gaussian's


class KnownWeights(nn.Module):
    """How channels of one modality weigh the target's coordinates, over the subjects that a decoder was fitted on.

    Buffers as in `maths.empirical_bayes.Population`, float64.
    """

    mean: Tensor

    def __init__(self, n_dims: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_dims, dtype=torch.float64))
        for name in ("covariance", "stimuli"):
            self.register_buffer(name, torch.eye(n_dims, dtype=torch.float64))

    def population(self) -> bayes.Population:
        """As the maths takes it."""
        return bayes.Population(*(self.get_buffer(n).cpu() for n in bayes.Population._fields))


class Readout(nn.Module):
    """A subject's posterior mean of the target's coordinates: an affine map of its flattened signal.

    Attributes
    ----------
    weight, bias : Tensor, shapes (n_dims, n_signal_values), (n_dims,)
    error : Tensor, shape (n_dims, n_dims)
        Posterior covariance of the coordinates, for a response to a stimulus shown as often as those of training.
    """

    weight: Tensor
    bias: Tensor
    error: Tensor

    def __init__(self, n_dims: int, n_values: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_dims, n_values))
        self.register_buffer("bias", torch.zeros(n_dims))
        self.register_buffer("error", torch.eye(n_dims))

    def forward(self, signals: Tensor) -> Tensor:
        """(n, *signal) to (n, n_dims)."""
        return signals.flatten(1) @ self.weight.T + self.bias

    def take_(self, found: bayes.Reader, channels: Tensor) -> None:
        """Takes over what was found for some of the signal's values; the others are not read."""
        self.weight.zero_()
        self.weight[:, channels] = found.weight.to(self.weight)
        self.bias.copy_(found.bias)
        self.error.copy_(found.error)


def fit_populations_(decoder: BrainDecoder, sets: Sets) -> None:
    """What the subjects just fitted say of others to come, by modality; nothing where the target is too long for it."""
    decoder.populations = nn.ModuleDict()
    by_modality: dict[str, list[SubjectSet]] = {}
    for key, data in sets.items():
        if len(data.averaged().stimuli) >= MIN_STIMULI:
            by_modality.setdefault(decoder.preprocessing[key].signal.modality, []).append(data.averaged())
    frame = _frame(decoder)
    if frame is None:
        return
    for modality, subjects in by_modality.items():
        seen = [_coordinates(frame, s.targets[decoder.main]) for s in subjects]
        stimuli = covariance.ledoit_wolf(torch.cat(seen)).matrix
        pairs = [bayes.pairs_of(_some_channels(s), z) for s, z in zip(subjects, seen, strict=True)]
        found = bayes.fit_population(pairs, stimuli, POPULATION_ITERATIONS)
        known = KnownWeights(len(stimuli))
        for name, values in zip(found._fields, found, strict=True):
            known.get_buffer(name).copy_(values)
        decoder.populations[modality] = known


def check_untrained(settings: object, mode: str) -> None:
    """Refuses what only training can heed."""
    if settings is not None or mode != "adapter":
        raise ValueError("method 'empirical_bayes' trains nothing: leave out settings and mode.")


def check_known(decoder: BrainDecoder, part: NeuralDataset) -> None:
    """Refuses new subjects of whose modality this decoder has no population."""
    for key, trials in part.trials.items():
        if trials.modality not in decoder.populations:
            raise ValueError(
                f"{key}: this decoder knows no other subject's {trials.modality} weights over {decoder.main!r} (it has "
                f"{sorted(decoder.populations)}); adapt it with method='fine_tune'."
            )


def read_in_closed_form_(decoder: BrainDecoder, key: str, data: SubjectSet) -> None:
    """The readout of one subject, and its posterior covariance as the calibration where the target is short enough."""
    modality = decoder.preprocessing[key].signal.modality
    known = checks.of_type("population", decoder.populations[modality], KnownWeights)
    population, frame = known.population(), checks.of_type("coordinates", _frame(decoder), Tensor)
    averaged = data.averaged()
    checks.at_least(f"stimuli of {key} to adapt with", len(averaged.stimuli), MIN_STIMULI)
    counts = torch.from_numpy(np.bincount(data.groups()[0]))
    signals = rows.whole(averaged.signals).flatten(1)
    pairs = bayes.pairs_of(signals, _coordinates(frame, averaged.targets[decoder.main]), counts)
    chosen = bayes.most_telling(pairs, population, MAX_CHANNELS)
    pairs = pairs._replace(responses=pairs.responses[:, chosen], response=pairs.response[chosen])
    found = bayes.invert(bayes.fit_channels(pairs, population), population)
    readout = Readout(len(found.bias), signals.shape[1])
    readout.take_(found, chosen)
    decoder.readouts[key] = readout
    if not frame.numel():
        calibration = Calibration(len(found.bias))
        calibration.know_(found.error, population.stimuli, SHARE)
        decoder.calibrations[key] = calibration


def read(decoder: BrainDecoder, key: str, signals: Tensor) -> Tensor:
    """Posterior mean (n, n_tokens, n_dims) of the main output, centred, for prepared signals."""
    values = decoder.readouts[key](signals)
    frame = _frame(decoder)
    if frame is not None and frame.numel():
        values = values @ frame.T
    return values.reshape(len(signals), *decoder.outputs[decoder.main].shape)


def _frame(decoder: BrainDecoder) -> Tensor | None:
    """Orthonormal columns (n_values, n_coordinates) of the coordinates; empty where they are the target itself.

    None where the target is longer than `MAX_COORDINATES` and the decoder has no short linear path to it.
    """
    if int(np.prod(decoder.outputs[decoder.main].shape)) <= MAX_COORDINATES:
        return torch.zeros(0, 0)
    path = decoder.fitted_encoder().backbone.linear_path(decoder.main)
    if path is None or path.in_features > MAX_COORDINATES:
        return None
    return torch.linalg.qr(path.weight.detach()).Q


def _coordinates(frame: Tensor, targets: rows.Rows) -> Tensor:
    """Targets (n, n_tokens, n_dims) along the frame: (n, n_coordinates)."""

    def along(some: slice) -> Tensor:
        values = targets[some].flatten(1)
        return values @ frame if frame.numel() else values

    return rows.made_of(along, targets, dtype=torch.float64)


def _some_channels(data: SubjectSet) -> Tensor:
    """Flattened signals (n, at most `POPULATION_CHANNELS`) at evenly spaced values."""
    n_values = int(np.prod(data.signals.shape[1:]))
    step = -(-n_values // POPULATION_CHANNELS)
    return rows.made_of(lambda some: data.signals[some].flatten(1)[:, ::step], data.signals)
