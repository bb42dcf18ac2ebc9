"""BrainDecoder: what is fitted, what it predicts, how it meets a new subject, and how it is saved and loaded."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from braindec import checks, registry, seeding, train
from braindec.data import NeuralDataset
from braindec.data.preprocessing import FittedPreprocessing
from braindec.decoder import fitting, saving
from braindec.decoder.calibration import Calibration, held_out_rank
from braindec.decoder.prediction import Direction, Prediction, Repeats, with_repeats
from braindec.decoder.scaling import InOwnSpace, TargetScaler
from braindec.decoder.settings import Settings, build_losses, steps_for
from braindec.encoder import Encoder
from braindec.losses import Loss
from braindec.maths import nearest
from braindec.types import Embeddings, EmbeddingsInfo, SignalInfo, Trials

# An embedding-to-shared map larger than this is not kept; a new subject's adapter then starts at random.
MAX_SHARED_MAP = 20_000_000
ROWS_AT_ONCE = 2048


class BrainDecoder(nn.Module):
    """Decodes brain signals into a model's embedding space.

    Make one with `BrainDecoder.build`, or load one with `BrainDecoder.from_pretrained`.

    Attributes
    ----------
    encoder : Encoder
        Subject adapters and backbone.
    prior : Prior or None
        From predicted embedding to image embedding.
    settings : Settings
    preprocessing : dict of str to FittedPreprocessing
        By signal key; empty before `fit`.
    """

    def __init__(self, settings: Settings, info: SignalInfo, outputs: Mapping[str, EmbeddingsInfo]):
        super().__init__()
        self.settings, self.info, self.outputs = settings, info, dict(outputs)
        self.main = next(iter(self.outputs))
        self.losses = build_losses(settings, self.outputs)
        self.preprocessing: dict[str, FittedPreprocessing] = {}
        self.provenance: dict[str, Any] = {}
        self.log: train.Log | None = None
        self.prior_log: train.Log | None = None
        self.scalers = nn.ModuleDict({name: TargetScaler(i.shape) for name, i in self.outputs.items()})
        self.calibrations = nn.ModuleDict()
        self.gain: Tensor
        self.shared_weight: Tensor
        self.shared_bias: Tensor
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("shared_weight", torch.zeros(0, 0))
        self.register_buffer("shared_bias", torch.zeros(0))
        self.encoder: Any = None
        self.prior = self._build_prior()
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
        names = [name for name in Settings.__dataclass_fields__ if name in dir(recipe)]
        settings = (
            recipe if isinstance(recipe, Settings) else Settings(**{n: getattr(recipe, n) for n in names})
        )
        outputs = {"main": embeddings} if isinstance(embeddings, EmbeddingsInfo) else dict(embeddings)
        return cls(settings, info, outputs)

    def fit(
        self,
        part: NeuralDataset,
        embeddings: Embeddings | Mapping[str, Embeddings],
        out_dir: str | Path | None = None,
        *,
        prior: bool = True,
        progress: bool = True,
    ) -> BrainDecoder:
        """Fits preprocessing, encoder and prior on one part of a dataset, and nothing else.

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

        Returns
        -------
        BrainDecoder
            Itself.
        """
        self.cpu()  # training moves its modules to the accelerator and back
        named = self._named(embeddings)
        folder = None if out_dir is None else Path(out_dir)
        self.preprocessing = {key: self._fit_preprocessing(part.trials[key]) for key in part.keys}
        self._fit_scalers(part, named)
        sets = {key: self._subject_set(part, key, named) for key in part.keys}
        start = partial(fitting.start_from_ridge_, output=self.main, seed=self.settings.seed)
        self.encoder, fitted = fitting.cross_fit(
            self.build_encoder, self._told_losses(), self._loss_weights(), sets, self.settings.train,
            n_folds=self.settings.n_folds, seed=self.settings.seed, name="encoder", folder=folder, progress=progress,
            start=start if self.settings.train.ridge_start else _start_at_random, rank=self._rank(),
        )  # fmt: skip
        self.log = fitted.log
        self._fit_gain(fitted, sets)
        self._calibrate(fitted)
        self._fit_shared_map(sets)
        if prior and self.prior is not None:
            self._fit_prior(fitted, folder, progress)
        self.provenance = {"dataset": part.identity(), "n_trials": {k: len(s.stimuli) for k, s in sets.items()},
                           "best_step": self.log.best_step, "versions": saving.versions()}  # fmt: skip
        return self.eval()

    def adapt(
        self,
        part: NeuralDataset,
        embeddings: Embeddings | Mapping[str, Embeddings],
        out_dir: str | Path | None = None,
        *,
        settings: train.Config | None = None,
        freeze: bool = True,
        progress: bool = True,
    ) -> BrainDecoder:
        """A copy that also decodes a new subject, from few trials; the other subjects' predictions stay bit-equal.

        The new adapter starts as a ridge from the new signals to what the trunk's own subjects would have made of the
        same stimuli; then it alone is trained with the trunk frozen.

        Parameters
        ----------
        part : NeuralDataset
            Training trials of new subjects only.
        embeddings : Embeddings
        settings : train.Config, optional
            Defaults to the decoder's own.
        freeze : bool
            Train only the new adapters; False trains the trunk too (other subjects then change).
        """
        named = self._named(embeddings)
        known = sorted(set(part.keys) & set(self.info.signals))
        if known:
            raise ValueError(
                f"adapt takes new subjects, but {known} are already in this decoder; leave them out."
            )
        new = copy.deepcopy(self).cpu()
        new.info = SignalInfo({**self.info.signals, **part.info.signals})
        for key in part.keys:
            new.preprocessing[key] = new._fit_preprocessing(part.trials[key])
            new.encoder.add_subject(new.preprocessing[key].signal)
        sets = {key: new._subject_set(part, key, named) for key in part.keys}
        fresh = copy.deepcopy(new.encoder)
        new.encoder, fitted = fitting.cross_fit(
            lambda: copy.deepcopy(fresh), new._told_losses(), new._loss_weights(), sets,
            settings or self.settings.train,
            n_folds=self.settings.n_folds, seed=self.settings.seed, name="adapt",
            folder=None if out_dir is None else Path(out_dir), progress=progress, start=new._start_adapters_,
            rank=new._rank(),
            trainable=tuple(f"adapters.{key}." for key in part.keys) if freeze else ("",),
        )  # fmt: skip
        new.log = fitted.log
        new._calibrate(fitted)
        adapted = {"dataset": part.identity(), "best_step": new.log.best_step}
        new.provenance = {**self.provenance, "adapted": adapted}
        return new.eval()

    # ------------------------------------------------------------------------------------------------------- decoding

    @torch.no_grad()
    def predict(self, trials: Trials, *, repeats: Repeats = "none", output: str | None = None) -> Prediction:
        """Embeddings predicted from trials.

        Parameters
        ----------
        trials : Trials
            Of a subject this decoder knows, as measured: the fitted preprocessing is applied here.
        repeats : ``"none"``, ``"before"`` or ``"after"``
            Where repeats of a stimulus are averaged.
        output : str, optional
            Which target; the first one by default.

        Returns
        -------
        Prediction
        """
        name = self.main if output is None else checks.one_of("output", output, list(self.outputs))
        encoder = self._fitted_encoder()
        fitted = checks.known_key("subject", trials.key, self.preprocessing)
        run = partial(self._predict_rows, encoder, trials.key, name)
        return replace(with_repeats(fitted.apply(trials), trials.table, repeats, run), key=trials.key)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """How well each candidate embedding fits each prediction: (n, n_candidates), higher is more similar.

        The cosine about the training stimuli's mean; or, where calibration found that it tells training stimuli apart
        better, the evidence log p(candidate | prediction) - log p(candidate) with the error that was seen out of fold.

        Parameters
        ----------
        prediction : Prediction
            Of this decoder's main output.
        candidates : float array, shape (n_candidates, n_tokens, n_dims)
            In the target's own space.
        direction : ``"image"`` or ``"brain"``
            What is looked for: the image of a response (along rows), or the response to an image (along columns).
        """
        checks.one_of("direction", direction, ("image", "brain"))
        checks.known_key("subject", prediction.key, self.preprocessing)
        query, gallery = self._flat(prediction.values), self._flat(candidates)
        if prediction.key in self.calibrations:
            return self._calibration(prediction.key).similarity(query, gallery).cpu()
        return nearest.similarity(query, gallery).cpu()

    def retrieve(
        self, trials: Trials, gallery: Embeddings, k: int = 5, *, repeats: Repeats = "after"
    ) -> tuple[list[tuple[str, ...]], np.ndarray]:
        """The `k` gallery stimuli most similar to each prediction.

        Parameters
        ----------
        trials : Trials
        gallery : Embeddings
            Of the decoder's target space; another space is refused.
        k : int

        Returns
        -------
        ids : list of tuple of str
            A tuple of `k` stimulus ids a row, most similar first.
        similarity : float32 array, shape (n, k)
            See `similarity`.
        """
        checks.same_space(
            "gallery", gallery.space, self.outputs[self.main].space, "Embed it with the decoder's target."
        )
        checks.in_range("k", k, 1, len(gallery.ids))
        prediction = self.predict(trials, repeats=repeats)
        found = self.similarity(prediction, np.asarray(gallery.values[:], dtype=np.float32)).sort(
            dim=1, descending=True, stable=True
        )
        ids = [tuple(gallery.ids[i] for i in row) for row in found.indices[:, :k].tolist()]
        return ids, found.values[:, :k].numpy()

    def score(self, trials: Trials, embeddings: Embeddings, *, repeats: Repeats = "after") -> float:
        """Share of predictions whose own stimulus is the most similar of those presented; ties as a guess.

        Chance is one over the number of stimuli. A quick look; `evaluate` adds interval, null and ceilings.

        Parameters
        ----------
        trials : Trials
            That the decoder was not fitted on.
        embeddings : Embeddings
            Of their stimuli, in the decoder's target space.
        """
        space = self.outputs[self.main].space
        checks.same_space(
            "embeddings", embeddings.space, space, "Embed the stimuli with the decoder's target."
        )
        prediction = self.predict(trials, repeats=repeats)
        gallery, row = np.unique(prediction.ids, return_inverse=True)
        found = self.similarity(prediction, embeddings.of(gallery.tolist()))
        return float(nearest.hits_at(1, *nearest.ranks_in(found, torch.from_numpy(row))).mean())

    @torch.no_grad()
    def imagine(
        self, prediction: Prediction, *, seed: int = 0, n_steps: int | None = None, n_samples: int = 1
    ) -> np.ndarray:
        """Image embeddings (n_samples, n, n_tokens, n_dims) that the prior draws for predicted embeddings.

        Without a prior, the predicted embeddings themselves.
        """
        if self.prior is None:
            return np.repeat(prediction.values[None], n_samples, axis=0)
        condition = self._condition(self._scaler(self.main).centre(self._tensor(prediction.values)))
        generator = seeding.torch_generator(seed, "prior")
        samples = self.prior.sample(condition, generator=generator, n_steps=n_steps, n_samples=n_samples)
        return self._scaler(self.main).restore(samples).cpu().numpy()

    def image_embedding(
        self, prediction: Prediction, *, seed: int = 0, n_steps: int | None = None
    ) -> np.ndarray:
        """What a picture is drawn from, (n, n_tokens, n_dims): the mean of ``settings.prior_samples`` draws."""
        n_samples = 1 if self.prior is None or self.prior.closed_form else self.settings.prior_samples
        return self.imagine(prediction, seed=seed, n_steps=n_steps, n_samples=n_samples).mean(0)

    @torch.no_grad()
    def imagine_nothing(self, n: int, *, seed: int = 0, n_steps: int | None = None) -> np.ndarray:
        """Image embeddings (n, n_tokens, n_dims) that the prior draws without a brain: a control for pictures."""
        if self.prior is None:
            raise ValueError("this decoder has no prior; set one in its settings.")
        generator = seeding.torch_generator(seed, "prior")
        samples = self.prior.unconditional(n, generator=generator, n_steps=n_steps)
        return self._scaler(self.main).restore(samples).cpu().numpy()

    def reconstruct(
        self,
        trials: Trials,
        generator: Any,
        *,
        repeats: Repeats = "after",
        seed: int = 0,
        n_steps: int | None = None,
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """Pictures of what was presented: (stimulus ids, uint8 (n, height, width, 3)).

        Parameters
        ----------
        trials : Trials
        generator : Generator
            From ``braindec.generators``, of the decoder's target space.
        seed : int
            Of prior and generator.
        """
        checks.same_space(
            "generator", generator.space, self.outputs[self.main].space, "Choose a generator of this space."
        )
        prediction = self.predict(trials, repeats=repeats)
        embeddings = self.image_embedding(prediction, seed=seed)
        drawn = generator.generate(
            embeddings, generator=seeding.torch_generator(seed, "picture"), n_steps=n_steps
        )
        return prediction.ids, drawn

    @torch.no_grad()
    def activations(self, layer: str, trials: Trials) -> np.ndarray:
        """What a named layer of the encoder puts out for each trial: (n_trials, ...), float32.

        Parameters
        ----------
        layer : str
            A name of ``decoder.layers()``, e.g. ``"backbone"`` or ``"adapters.sub-01_fmri"``.
        """
        encoder = self._fitted_encoder()
        module = dict(encoder.named_modules())[checks.one_of("layer", layer, self.layers())]
        caught: list[Tensor] = []
        handle = module.register_forward_hook(lambda _m, _i, out: caught.append(_as_tensor(out, self.main)))
        try:
            self.predict(trials)
        finally:
            handle.remove()
        return torch.cat(caught).cpu().numpy()

    def layers(self) -> list[str]:
        """Names of the encoder's layers, for `activations`."""
        return [name for name, _ in self._fitted_encoder().named_modules() if name]

    def centred(self, embeddings: np.ndarray, output: str | None = None) -> Tensor:
        """Embeddings (n, n_tokens, n_dims) flattened about the training stimuli's mean: (n, n_tokens * n_dims)."""
        return self._flat(embeddings, output).cpu()

    # --------------------------------------------------------------------------------------------- saving and loading

    def save_pretrained(self, folder: str | Path, report: Any = None) -> Path:
        """Writes the fitted decoder as a folder that `from_pretrained` loads bit-equal.

        Parameters
        ----------
        folder : path
        report : Report, optional
            Its scores go into the model card.
        """
        return saving.save(self, Path(folder), report)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None) -> BrainDecoder:
        """Loads a saved decoder: a folder, or ``owner/name`` on the hub at a 40-hex `revision`.

        Raises
        ------
        DataFileError
            If a file is missing, damaged or holds other weights than the config says; nothing is loaded then.
        """
        return saving.load(cls, str(name), revision)

    # ------------------------------------------------------------------------------------------------------- helpers

    def _named(self, embeddings: Embeddings | Mapping[str, Embeddings]) -> dict[str, Embeddings]:
        named = {self.main: embeddings} if isinstance(embeddings, Embeddings) else dict(embeddings)
        for name, info in self.outputs.items():
            found = checks.known_key("embeddings", name, named)
            checks.same_space(
                "embeddings", found.space, info.space, "Embed the stimuli with the recipe's target."
            )
        return named

    def _fit_preprocessing(self, trials: Trials) -> FittedPreprocessing:
        return steps_for(self.settings.preprocessing, trials.modality).fit(trials)

    def _fit_scalers(self, part: NeuralDataset, named: Mapping[str, Embeddings]) -> None:
        ids = part.stimulus_ids
        for name, scaler in self.scalers.items():
            checks.of_type("scaler", scaler, TargetScaler).fit_(torch.from_numpy(named[name].of(ids)))

    def _subject_set(
        self, part: NeuralDataset, key: str, named: Mapping[str, Embeddings]
    ) -> fitting.SubjectSet:
        trials = part.trials[key]
        ids = trials.table["stimulus_id"]
        numbers = np.unique(ids, return_inverse=True)[1]
        targets = {
            name: self._scaler(name).centre(torch.from_numpy(named[name].of(ids.tolist())))
            for name in self.outputs
        }
        units = fitting.inner_units(part, trials)
        signals = torch.from_numpy(self.preprocessing[key].apply(trials))
        return fitting.SubjectSet(signals, targets, torch.from_numpy(numbers), tuple(units.tolist()))

    def build_encoder(self) -> Encoder:
        """A fresh encoder for the signals this decoder was fitted on."""
        info = SignalInfo({key: fitted.signal for key, fitted in self.preprocessing.items()})
        shapes = {name: i.shape for name, i in self.outputs.items()}
        return Encoder.build(info, shapes, self.settings.adapter, self.settings.backbone, self.settings.seed)

    def _build_prior(self) -> Any:
        if self.settings.prior is None:
            return None
        module = registry.load(*registry.name_of(self.settings.prior))
        with seeding.seeded(self.settings.seed, "prior"):
            return module.build(self.outputs[self.main].shape, self.settings.prior)

    def _told_losses(self) -> dict[str, Loss]:
        """The losses by output, each told centred targets whatever it needs."""
        return {n: InOwnSpace(x, self._scaler(n)) if x.own_space else x for n, x in self.losses.items()}

    def _loss_weights(self) -> dict[str, float]:
        weights = self.settings.loss_weights or {}
        return {name: float(weights.get(name, 1.0)) for name in self.losses}

    def _fit_gain(self, fitted: fitting.CrossFit, sets: Mapping[str, fitting.SubjectSet]) -> None:
        """Least-squares length of the predictions, out of fold where there are folds: some losses leave it free."""
        with torch.no_grad():
            pairs = [(raw, truth) for raw, truth, _ in fitted.held_out.values()] or [
                (self._raw(key, s.signals), s.targets[self.main]) for key, s in sets.items()
            ]
        cross = sum(float((p * t).sum()) for p, t in pairs)
        power = sum(float(p.square().sum()) for p, _ in pairs)
        self.gain.fill_(max(cross, 0.0) / max(power, 1e-12))

    def _rank(self) -> Any:
        """How out-of-fold predictions are scored to choose the number of steps: as they will be used."""
        if not self.settings.calibrate:
            return None

        def rank(raw: Tensor, truth: Tensor) -> float:
            # A generator of its own each time: every number of steps is looked at on the same folds.
            return held_out_rank(raw, truth, seeding.torch_generator(self.settings.seed, "rank"))

        return rank

    def _calibrate(self, fitted: fitting.CrossFit) -> None:
        """Map and error of each subject, from the out-of-fold predictions of its stimuli's mean responses."""
        if not self.settings.calibrate:
            return
        others = [self._calibration(key) for key in self.calibrations]
        for key, (raw, truth, rows) in fitted.held_out.items():
            calibration = Calibration(truth[0].numel())
            generator = seeding.torch_generator(self.settings.seed, "calibration", key)
            calibration.fit_(raw[rows].flatten(1), truth[rows].flatten(1), generator, others)
            self.calibrations[key] = calibration

    def _fit_shared_map(self, sets: Mapping[str, fitting.SubjectSet]) -> None:
        """Ridge from centred embeddings to the shared values that the adapters make of the same stimuli."""
        encoder = self._fitted_encoder()
        size = next(iter(sets.values())).targets[self.main][0].numel()
        n_shared = int(np.prod(encoder.shared_shape))
        if size * n_shared > MAX_SHARED_MAP:
            return
        averaged = {key: s.averaged() for key, s in sets.items()}
        with torch.no_grad():
            shared = torch.cat([encoder.adapter(key)(s.signals).flatten(1) for key, s in averaged.items()])
        targets = torch.cat([s.targets[self.main] for s in averaged.values()])
        units = tuple(u for s in averaged.values() for u in s.units)
        pairs = fitting.SubjectSet(targets, {"shared": shared}, torch.arange(len(targets)), units)
        fit = fitting.ridge_to(pairs, shared, self.settings.seed, "shared map", score="correlation")
        self.shared_weight, self.shared_bias = fit.weights.T.contiguous(), fit.intercept

    def _start_adapters_(self, encoder: Encoder, sets: Mapping[str, fitting.SubjectSet]) -> None:
        """Ridge from new subjects' signals to the shared values expected for their stimuli."""
        if not self.shared_weight.numel():
            return
        for key, data in sets.items():
            averaged = data.averaged()
            expected = averaged.targets[self.main].flatten(1) @ self.shared_weight.T + self.shared_bias
            fit = fitting.ridge_to(averaged, expected, self.settings.seed, "adapt", key)
            encoder.adapter(key).start_from_(fit.weights.T, fit.intercept)

    def _fit_prior(self, fitted: fitting.CrossFit, folder: Path | None, progress: bool) -> None:
        if not fitted.held_out:
            raise checks.ConfigError(
                "a prior is trained on out-of-fold predictions; set n_folds to 2 or more."
            )
        pairs = [(self._finished(key, raw), truth) for key, (raw, truth, _) in fitted.held_out.items()]
        conditions = self._condition(torch.cat([p for p, _ in pairs]))
        targets = torch.cat([t for _, t in pairs])
        self.prior_log = fitting.fit_prior(
            self.prior, conditions, targets, self.settings.prior_train, self.settings.seed, folder, progress
        )

    def _condition(self, centred: Tensor) -> Tensor:
        """What the prior is told: calibrated embeddings as they are, others at unit length."""
        return centred if self.settings.calibrate else _unit(centred)

    def _finished(self, key: str, raw: Tensor) -> Tensor:
        """Centred embeddings (n, n_tokens, n_dims) from raw outputs of the main head."""
        if key in self.calibrations:
            return self._calibration(key)(raw.flatten(1)).reshape(raw.shape)
        return raw * self.gain

    def _calibration(self, key: str) -> Calibration:
        return checks.of_type("calibration", self.calibrations[key], Calibration)

    def _raw(self, key: str, signals: Tensor, output: str | None = None) -> Tensor:
        encoder = self._fitted_encoder()
        parts = [encoder({key: rows})[key][output or self.main] for rows in signals.split(ROWS_AT_ONCE)]
        return torch.cat(parts)

    def _predict_rows(self, encoder: Encoder, key: str, name: str, responses: np.ndarray) -> np.ndarray:
        encoder.eval()
        raw = self._raw(key, self._tensor(responses), name)
        centred = self._finished(key, raw) if name == self.main else raw
        return self._scaler(name).restore(centred).cpu().numpy()

    def _tensor(self, values: np.ndarray) -> Tensor:
        """An array on the decoder's device."""
        return torch.as_tensor(np.asarray(values)).to(self.gain.device)

    def _flat(self, embeddings: np.ndarray, output: str | None = None) -> Tensor:
        """See `centred`; on the decoder's device."""
        return self._scaler(output or self.main).centre(self._tensor(embeddings)).flatten(1)

    def _scaler(self, name: str) -> TargetScaler:
        return checks.of_type("scaler", self.scalers[name], TargetScaler)

    def _fitted_encoder(self) -> Encoder:
        if self.encoder is None:
            raise ValueError(
                "this decoder is not fitted; call decoder.fit(dataset.part('train'), embeddings) first."
            )
        return self.encoder


def _start_at_random(encoder: Encoder, sets: Mapping[str, fitting.SubjectSet]) -> None:
    """First weights stay as they were drawn."""


def _unit(values: Tensor) -> Tensor:
    """Predictions (n, n_tokens, n_dims) at the length sqrt(n_tokens * n_dims): contrastive losses leave it free."""
    return normalize(values.flatten(1), dim=1).reshape(values.shape) * float(np.sqrt(values[0].numel()))


def _as_tensor(out: Any, main: str) -> Tensor:
    return out if isinstance(out, Tensor) else out[main]
