"""BrainDecoder: what is fitted, what it predicts, and how it meets a new subject."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, outlines, train
from braindec.data import NeuralDataset
from braindec.data.gallery import Gallery
from braindec.data.gallery_index import Index
from braindec.data.preprocessing import FittedPreprocessing
from braindec.decoder import adapting, decoding, learning, masked, two_views
from braindec.decoder.adaptation import Method, Mode
from braindec.decoder.calibration import Calibration
from braindec.decoder.held_out import HeldOut
from braindec.decoder.outlined import outlined
from braindec.decoder.prediction import Direction, Prediction, Repeats
from braindec.decoder.scaling import TargetScaler
from braindec.decoder.settings import Settings, build_losses, build_prior, settings_of
from braindec.decoder.sharing import Sharing
from braindec.encoder import Encoder
from braindec.generators import NOTHING, Generator, Guides
from braindec.types import Embeddings, EmbeddingsInfo, SignalInfo, Trials

MASKED = masked.Config()


class BrainDecoder(Sharing, nn.Module):
    """Decodes brain signals into a model's embedding space.

    Make one with `BrainDecoder.build`, or load one with `BrainDecoder.from_pretrained`; how it is saved, shared and
    loaded stands in `decoder.sharing`.

    Attributes
    ----------
    encoder : Encoder
        Subject adapters and backbone.
    prior : Prior or None
        From predicted embedding to image embedding.
    settings : Settings
    preprocessing : dict of str to FittedPreprocessing
        By signal key; empty before `fit`.
    held_out : mapping of str to decoder.held_out.HeldOut
        By signal key, what `fit` predicted out of fold, for whoever calibrates on it; empty where it would take over
        64 MB, without folds, and once the decoder was saved and loaded.
    """

    def __init__(self, settings: Settings, info: SignalInfo, outputs: Mapping[str, EmbeddingsInfo]):
        super().__init__()
        self.settings, self.info, self.outputs = settings, info, dict(outputs)
        self.main = next(iter(self.outputs))
        self.losses = build_losses(settings, self.outputs)
        self.preprocessing: dict[str, FittedPreprocessing] = {}
        self.provenance: dict[str, Any] = {}
        self.held_out: Mapping[str, HeldOut] = {}
        self.log: train.Log | None = None
        self.prior_log: train.Log | None = None
        self.pretrained = masked.Pretrained()
        self.scalers = nn.ModuleDict({name: TargetScaler(i.shape) for name, i in self.outputs.items()})
        self.calibrations, self.populations, self.readouts, self.spreads = (nn.ModuleDict() for _ in range(4))
        self.gain: Tensor
        self.shared_weight: Tensor
        self.shared_bias: Tensor
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("shared_weight", torch.zeros(0, 0))
        self.register_buffer("shared_bias", torch.zeros(0))
        self.encoder: Any = None
        self.prior = build_prior(settings, self.outputs)
        if settings.calibrate:  # said now, not after the training
            Calibration.check(int(np.prod(self.outputs[self.main].shape)))

    # -------------------------------------------------------------------------------------------- making and fitting

    @classmethod
    def build(
        cls, recipe: Any, info: SignalInfo, embeddings: EmbeddingsInfo | Mapping[str, EmbeddingsInfo]
    ) -> BrainDecoder:
        """An unfitted decoder.

        Parameters
        ----------
        recipe : Recipe or Settings
            Only the fields that `Settings` has are read.
        info : SignalInfo
            ``dataset.info``: the signals before preprocessing.
        embeddings : EmbeddingsInfo or mapping of str to EmbeddingsInfo
            ``embeddings.info``, by output name where there are several.
        """
        outputs = {"main": embeddings} if isinstance(embeddings, EmbeddingsInfo) else dict(embeddings)
        return cls(settings_of(recipe), info, outputs)

    def pretrain(
        self,
        part: NeuralDataset,
        settings: masked.Config | two_views.Config = MASKED,
        out_dir: str | Path | None = None,
        *,
        progress: bool = True,
    ) -> BrainDecoder:
        """Itself, with a trunk that has learnt of trials without labels: what `fit` then starts from.

        It fills in masked patches, or tells two views of a window of volumes from those of others.

        Labels are not looked at, and subjects may be others than those of `fit`, as long as their adapters end in the
        same shape. ``decoder.pretrained.error`` says how well held-out trials are done. A saved decoder holds the
        weights that `fit` made of the trunk, not the trunk.

        Parameters
        ----------
        part : NeuralDataset
            Trials with or without known stimuli; none of those that will be tested on.
        settings : decoder.masked.Config or decoder.two_views.Config
        out_dir : path, optional
            Where log and checkpoints go; an unfinished pretraining found there is resumed.

        Raises
        ------
        ValueError
            If the backbone has no patches.
        """
        folder = None if out_dir is None else Path(out_dir)
        learning.pretrain_(self, part, settings, folder, progress=progress)
        return self

    def fit(
        self,
        part: NeuralDataset,
        embeddings: Embeddings | Mapping[str, Embeddings],
        out_dir: str | Path | None = None,
        *,
        prior: bool = True,
        progress: bool = True,
    ) -> BrainDecoder:
        """Itself, with preprocessing, encoder and prior fitted on one part of a dataset and nothing else.

        Parameters
        ----------
        part : NeuralDataset
            ``dataset.part("train")``.
        embeddings : Embeddings or mapping of str to Embeddings
            Of every stimulus in `part`.
        out_dir : path, optional
            Where logs and checkpoints go.
        prior : bool
            Fit the prior too; retrieval does not need it.
        progress : bool
            Show progress bars.
        """
        folder = None if out_dir is None else Path(out_dir)
        learning.fit_(
            self.cpu(), part, learning.named(self, embeddings), folder, prior=prior, progress=progress
        )
        return self.eval()

    def adapt(
        self,
        part: NeuralDataset,
        embeddings: Embeddings | Mapping[str, Embeddings],
        out_dir: str | Path | None = None,
        *,
        settings: train.Config | None = None,
        mode: Mode = "adapter",
        progress: bool = True,
        method: Method = "fine_tune",
    ) -> BrainDecoder:
        """A copy that also decodes a new subject, from few trials; this decoder does not change.

        By ``"fine_tune"`` the new adapter starts as a ridge from the new signals to what the trunk's own subjects would
        have made of the same stimuli, and `mode` says what is trained then. By ``"empirical_bayes"`` nothing
        is trained: the main output is the posterior mean under a prior from the other subjects' weights, its covariance
        the calibration's `error`; see `decoder.new_subject`.

        Parameters
        ----------
        part : NeuralDataset
            Training trials of new subjects only.
        embeddings : Embeddings
        settings : train.Config, optional
            Defaults to the decoder's own.
        mode : ``"adapter"``, ``"reset"`` or ``"all"``
            ``"adapter"``: the new adapters alone; the other subjects' predictions stay bit-equal. ``"reset"``: the
            backbone's first layers too, drawn anew, with the layers behind them frozen (MindBridge's reset-tuning, Wang
            et al. 2024, arXiv:2404.07850). ``"all"``: everything, from the weights there are, as MindEye2 does with one
            hour of data (Scotti et al. 2024, arXiv:2403.11207). In the last two the copy decodes the other subjects by
            a trunk that was trained without them.
        method : ``"fine_tune"`` or ``"empirical_bayes"``
            The second takes neither `settings` nor `mode`.
        """
        folder = None if out_dir is None else Path(out_dir)
        found = adapting.adapted(self, part, embeddings, folder, settings, mode, method, progress=progress)
        return found.eval()

    # ------------------------------------------------------------------------------------------------------- decoding

    def predict(
        self, trials: Trials | np.ndarray, *, repeats: Repeats = "none", output: str | None = None
    ) -> Prediction:
        """Embeddings predicted from trials.

        Parameters
        ----------
        trials : Trials, or array of responses (n_trials, ...) where the decoder knows one subject
            Of a subject this decoder knows, as measured: the fitted preprocessing is applied here.
        repeats : ``"none"``, ``"before"`` or ``"after"``
            Where repeats of a stimulus are averaged.
        output : str, optional
            Which target; the first one by default.
        """
        return decoding.predict(self, trials, repeats, output)

    def classify(self, trials: Trials | np.ndarray) -> np.ndarray:
        """The class that fits each trial best, text (n_trials,), of a decoder of classes; trials as in `predict`."""
        return decoding.classify(self, trials)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """How well each candidate embedding fits each prediction: (n, n_candidates), higher is more similar.

        The cosine about the training stimuli's mean, that cosine after the error seen out of fold is whitened, or the
        evidence log p(candidate | prediction) - log p(candidate) under that error; calibration chose for each direction
        what told training stimuli apart. A pair's value depends on no other prediction or candidate.

        Parameters
        ----------
        prediction : Prediction
            Of this decoder's main output.
        candidates : float array, shape (n_candidates, n_tokens, n_dims)
            In the target's own space.
        direction : ``"image"`` or ``"brain"``
            What is looked for: the image of a response (along rows), or the response to an image (along columns).
        """
        return decoding.similarity(self, prediction, candidates, direction)

    def retrieve(
        self, trials: Trials, gallery: Embeddings | Gallery | Index, k: int = 5, *, repeats: Repeats = "after"
    ) -> tuple[list[tuple[str, ...]], np.ndarray]:
        """The `k` gallery stimuli most similar to each prediction.

        Parameters
        ----------
        trials : Trials
        gallery : Embeddings, data.gallery.Gallery or data.gallery_index.Index
            Of the decoder's target space; another space is refused. A `Gallery` may hold millions: it is searched where
            it lies, with the same answer. Of an `Index`, for tens of millions, what it lists is compared.
        k : int

        Returns
        -------
        ids : list of tuple of str
            A tuple of `k` stimulus ids a row, most similar first.
        similarity : float32 array, shape (n, k)
            See `similarity`.
        """
        return decoding.retrieve(self, trials, gallery, k, repeats)

    def score(self, trials: Trials, embeddings: Embeddings, *, repeats: Repeats = "after") -> float:
        """Share of predictions whose own stimulus is the most similar of those presented; ties as a guess.

        Chance is one over the number of stimuli. A quick look; `evaluate` adds interval, null and ceilings.

        Parameters
        ----------
        trials : Trials
            That the decoder was not fitted on; it warns of those that it was, which `evaluate` refuses.
        embeddings : Embeddings
            Of their stimuli, in the decoder's target space.
        """
        return decoding.score(self, trials, embeddings, repeats)

    def imagine(
        self, prediction: Prediction, *, seed: int = 0, n_steps: int | None = None, n_samples: int = 1
    ) -> np.ndarray:
        """Image embeddings (n_samples, n, n_tokens, n_dims) that the prior draws for predicted embeddings.

        Without a prior, the predicted embeddings themselves.
        """
        return decoding.imagine(self, prediction, seed, n_steps, n_samples)

    def image_embedding(
        self, prediction: Prediction, *, seed: int = 0, n_steps: int | None = None
    ) -> np.ndarray:
        """What a picture is drawn from, (n, n_tokens, n_dims).

        The mean of the prior's mean draw and the prediction, as long as a training embedding: means are short.
        """
        return decoding.image_embedding(self, prediction, seed, n_steps)

    def imagine_nothing(self, n: int, *, seed: int = 0, n_steps: int | None = None) -> np.ndarray:
        """Image embeddings (n, n_tokens, n_dims) that the prior draws without a brain: a control for pictures."""
        return decoding.imagine_nothing(self, n, seed, n_steps)

    def reconstruct(
        self,
        trials: Trials,
        generator: Generator,
        *,
        repeats: Repeats = "after",
        guides: Guides = NOTHING,
        seed: int = 0,
        n_steps: int | None = None,
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """Pictures of what was presented: (stimulus ids, uint8 (n, height, width, 3)).

        Parameters
        ----------
        trials : Trials
        generator : Generator
            From ``braindec.generators``, of the decoder's target space.
        guides : Guides
            What else the generator is told; its rows are those of ``predict(trials, repeats=repeats)``.
        seed : int
            Of prior and generator.
        """
        return decoding.reconstruct(self, trials, generator, repeats, seed, n_steps, guides)

    def activations(self, layer: str, trials: Trials) -> np.ndarray:
        """What a named layer of the encoder puts out for each trial: (n_trials, ...), float32.

        Parameters
        ----------
        layer : str
            A name of ``decoder.layers()``, e.g. ``"backbone"`` or ``"adapters.sub-01_fmri"``.
        """
        return decoding.activations(self, layer, trials)

    def layers(self) -> list[str]:
        """Names of the encoder's layers, for `activations`."""
        return [name for name, _ in self.fitted_encoder().named_modules() if name]

    def centred(self, embeddings: np.ndarray, output: str | None = None) -> Tensor:
        """Embeddings (n, n_tokens, n_dims) flattened about the training stimuli's mean: (n, n_tokens * n_dims)."""
        return self.flat(embeddings, output).cpu()

    # -------------------------------------------------------------------------------------------------- its parts

    def build_encoder(self) -> Encoder:
        """A fresh encoder for the signals this decoder was fitted on."""
        known = {k: f.signal for k, f in self.preprocessing.items() if k not in self.readouts}
        return self.encoder_of(SignalInfo(known))

    def encoder_of(self, info: SignalInfo) -> Encoder:
        """A fresh encoder for any signals, its trunk the pretrained one where there is one."""
        return learning.fresh_encoder(self, info)

    def condition(self, centred: Tensor) -> Tensor:
        """What the prior is told: calibrated embeddings as they are, others at unit length."""
        return centred if self.settings.calibrate else decoding.unit_length(centred)

    def finished(self, key: str, raw: Tensor) -> Tensor:
        """Centred embeddings (n, n_tokens, n_dims) from raw outputs of the main head."""
        return decoding.finished(self, key, raw)

    def calibration(self, key: str) -> Calibration:
        """Of one subject."""
        return checks.of_type("calibration", self.calibrations[key], Calibration)

    def raw(self, key: str, signals: Tensor, output: str | None = None) -> Tensor:
        """What a head of the encoder puts out for one subject's prepared signals: (n, n_tokens, n_dims)."""
        return decoding.raw(self, key, signals, output or self.main)

    def __repr__(self) -> str:
        told = {name: value for name, value in outlined(self).items() if value is not None}
        said = (f"{name} {', '.join(v) if isinstance(v, list) else v}" for name, v in told.items())
        return f"BrainDecoder({'; '.join(said)})"

    def _repr_html_(self) -> str:
        return outlines.pairs("BrainDecoder", outlined(self))

    def tensor(self, values: np.ndarray) -> Tensor:
        """An array on the decoder's device."""
        if self.gain.dtype != torch.float32:
            said = "A decoder computes in float32: call .float(), or load it again."
            raise checks.ConfigError(f"this decoder was cast to {self.gain.dtype}. {said}")
        return torch.as_tensor(np.asarray(values)).to(self.gain.device)

    def flat(self, embeddings: np.ndarray, output: str | None = None) -> Tensor:
        """See `centred`; on the decoder's device."""
        return self.scaler(output or self.main).centre(self.tensor(embeddings)).flatten(1)

    def scaler(self, name: str) -> TargetScaler:
        """Of one output."""
        return checks.of_type("scaler", self.scalers[name], TargetScaler)

    def fitted_encoder(self) -> Encoder:
        """The encoder; refused before `fit`."""
        if self.encoder is None:
            raise ValueError(
                "this decoder is not fitted; call decoder.fit(dataset.part('train'), embeddings) first."
            )
        return self.encoder
