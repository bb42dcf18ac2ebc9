"""Audio models of transformers (wav2vec 2.0, HuBERT, Whisper, CLAP) by layer, at the rate of a brain signal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.targets import AudioTarget, _layers, _pretrained, _sound
from braindec.targets._tokens import unit
from braindec.targets._views import map_identity, map_label, map_of

Over = Literal["time", "mean", "model"]


@dataclass(frozen=True)
class Config:
    """Settings of an audio model of transformers.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` (model and feature extractor), or ``owner/name`` of a model downloaded
        before; see docs/targets.md.
    layers : tuple of int
        Mean of these of the model's ``hidden_states``: 0 goes into the first block, 1 comes out of it, -1 is the last.
        Empty: the last hidden state.
    pooling : {"time", "mean", "model"}
        One token a time step; the mean over time; or the model's own embedding of a sound (CLAP), which takes no
        layers.
    rate : float
        Time steps per second, in Hz, to which layers are brought by linear interpolation.
    n_times : int
        Time steps of one embedding: sounds must last `n_times` / `rate` seconds. Used by "time" alone.
    standardise : {"no", "sound"}
        "sound": every dim has mean 0 and standard deviation 1 over the times of each sound, for pooling "time" alone:
        a mean over time would be 0 for every sound. With statistics of training stimuli instead: a file of mean and std
        as `aligned`.
    normalised : bool
        Every token divided by its length.
    aligned : str or None
        safetensors file of a linear map, see `_views.LinearMap`.

    Notes
    -----
    The defaults are those of Défossez et al. 2023 (doi:10.1038/s42256-023-00714-5): layers 14 to 18 of
    wav2vec2-large-xlsr-53, averaged, at 120 Hz, 3 s with both ends: 361 steps.
    """

    model: str = "facebook/wav2vec2-large-xlsr-53"
    layers: tuple[int, ...] = (14, 15, 16, 17, 18)
    pooling: Over = "time"
    rate: float = 120.0
    n_times: int = 361
    standardise: Literal["no", "sound"] = "no"
    normalised: bool = False
    aligned: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("pooling", self.pooling, get_args(Over))
        checks.one_of("standardise", self.standardise, ("no", "sound"))
        checks.at_least("n_times", self.n_times, 1)
        if not self.rate > 0:
            raise ValueError(f"rate must be above 0 Hz, got {self.rate}.")
        if self.pooling == "model" and (self.layers or self.standardise != "no"):
            raise checks.ConfigError(
                "pooling='model' is the model's own end: it takes layers=() and standardise='no'."
            )
        if self.pooling == "mean" and self.standardise == "sound":
            raise checks.ConfigError(
                "standardise='sound' takes the mean over time away, which pooling='mean' is; use pooling='time', or "
                "standardise with a file of mean and std as aligned."
            )


def build(config: Config) -> TransformersAudio:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    MissingPackageError
        If transformers (extra `models`) is not installed.
    DownloadError
        If the model is not on this machine; it says how to get it.
    DataFileError
        If the folder lacks weights.
    """
    folder, model = _pretrained.opened(config.model, "transformers_audio", pooler=config.pooling == "model")
    return TransformersAudio(config, folder, model)


class TransformersAudio(AudioTarget):
    """Layers of an audio model over time.

    Parameters
    ----------
    config : Config
    folder : Path
        For provenance and the feature extractor.
    model : nn.Module
    """

    name = "transformers_audio"

    def __init__(self, config: Config, folder: Path, model: Any) -> None:
        from transformers import AutoFeatureExtractor

        way_out = "Save the model's feature extractor into the folder of the model."
        checks.existing_file(folder / "preprocessor_config.json", way_out)
        with _pretrained.quiet():
            self._extractor = AutoFeatureExtractor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        self.config, self._whole, self._map = config, model, map_of(config.aligned)
        self._network: Any = (
            model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
        )
        self.sfreq = float(self._extractor.sampling_rate)
        kind, digest = str(self._whole.config.model_type), _pretrained.weights_digest(folder)
        self._identity = {
            "target": self.name, "model": kind, "weights_sha256": digest,
            "config_sha256": _pretrained.config_digest(folder), "layers": list(config.layers),
            "pooling": config.pooling, "standardise": config.standardise, "normalised": config.normalised,
            "sfreq": self.sfreq, "transform_sha256": _pretrained.config_digest(folder, "preprocessor_config.json"),
        }  # fmt: skip
        at = ""
        if config.pooling == "time":
            self._identity |= {"rate": config.rate, "n_times": config.n_times}
            at = f"/{config.n_times}at{config.rate:g}Hz"
        self._identity |= map_identity(self._map)
        layers = "-".join(map(str, config.layers)) or "last"
        self.space = f"{self.name}/{kind}/{digest[:12]}/{layers}/{config.pooling}{at}"
        self.space += "/standardised" if config.standardise == "sound" else ""
        self.space += map_label(self._map) + ("/unit" if config.normalised else "")
        noise = np.random.default_rng(0).normal(0, 0.1, round(self.seconds * self.sfreq))
        probe = self._embedded([(noise, self.sfreq)], "cpu")
        self.shape = (probe.shape[1], probe.shape[2])

    @property
    def seconds(self) -> float:
        """How long a sound lasts."""
        return self.config.n_times / self.config.rate

    def identity(self) -> dict[str, Any]:
        """Model, sha256 of the weights, layers, pooling, rates."""
        return dict(self._identity)

    def embed_audio(
        self,
        sounds: Iterable[tuple[np.ndarray, float]],
        *,
        batch_size: int = 8,
        device: str = "cpu",
        progress: bool = False,
    ) -> np.ndarray:
        """float32 (n, n_tokens, dim); see `AudioTarget.embed_audio`.

        Raises
        ------
        ValueError
            If with pooling "time" a sound does not last `seconds`, to one time step.
        """
        checks.at_least("batch_size", batch_size, 1)
        parts = [np.empty((0, *self.shape), np.float32)]
        for batch in _layers.batches(sounds, batch_size, f"embed {self.name}", progress):
            parts.append(self._embedded(batch, device))
        return np.concatenate(parts)

    def timeline(
        self,
        samples: np.ndarray,
        sfreq: float,
        *,
        piece_s: float = 20.0,
        context_s: float = 2.0,
        device: str = "cpu",
    ) -> np.ndarray:
        """A whole recording at `rate`, in pieces that know what is around them: memory does not grow with its length.

        Parameters
        ----------
        samples : float array, shape (sample,)
        sfreq : float
            Hz.
        piece_s, context_s : float
            Seconds that are kept of a piece, and that are read before and after it and left out.

        Returns
        -------
        ndarray of float32, shape (time, dim)
            Step j stands for the time (j + 0.5) / rate. Standardised over the whole recording where the config says so;
            before the map and the length.
        """
        checks.n_axes("samples", samples, ("sample",))
        duration = len(samples) / sfreq
        times = (np.arange(int(duration * self.config.rate + 1e-6)) + 0.5) / self.config.rate
        parts = []
        for start in np.arange(0, max(duration, 1e-9), piece_s):
            begin, end = max(0.0, start - context_s), min(duration, start + piece_s + context_s)
            mine = times[(times >= start) & (times < start + piece_s)]
            if len(mine):
                piece = samples[round(begin * sfreq) : round(end * sfreq)]
                parts.append(self._at(piece, sfreq, mine - begin, device))
        return self._finished(torch.cat(parts)).cpu().numpy()

    def _embedded(self, sounds: list[tuple[np.ndarray, float]], device: str) -> np.ndarray:
        if self.config.pooling == "model":
            tokens = self._own_end(sounds, device)[:, None]
        else:
            tokens = torch.stack([self._one(samples, sfreq, device) for samples, sfreq in sounds])
        tokens = tokens if self._map is None else self._map(tokens)
        return (unit(tokens) if self.config.normalised else tokens).float().cpu().numpy()

    def _one(self, samples: np.ndarray, sfreq: float, device: str) -> Tensor:
        if self.config.pooling == "mean":
            hidden, _ = self._hidden(samples, sfreq, device)
            return self._finished(hidden).mean(0, keepdim=True)
        _sound.check_length(samples, sfreq, self.config.n_times, self.config.rate)
        times = (np.arange(self.config.n_times) + 0.5) / self.config.n_times * (len(samples) / sfreq)
        return self._finished(self._at(samples, sfreq, times, device))

    def _finished(self, steps: Tensor) -> Tensor:
        """(time, dim), standardised over time where the config says so."""
        if self.config.standardise == "no":
            return steps
        return (steps - steps.mean(0)) / steps.std(0, correction=0).clamp_min(1e-8)

    def _at(self, samples: np.ndarray, sfreq: float, times: np.ndarray, device: str) -> Tensor:
        """Layers at these seconds of a sound, (time, dim): linear between frames, level outside the first and last."""
        hidden, duration = self._hidden(samples, sfreq, device)
        place = torch.from_numpy(times * len(hidden) / duration - 0.5).clamp(0, len(hidden) - 1)
        before = place.floor().long().clamp(max=max(len(hidden) - 2, 0))
        share = (place - before).to(hidden)[:, None]
        after = (before + 1).clamp(max=len(hidden) - 1)
        return hidden[before] * (1 - share) + hidden[after] * share

    @torch.inference_mode()
    def _hidden(self, samples: np.ndarray, sfreq: float, device: str) -> tuple[Tensor, float]:
        """(mean of the layers (frame, dim), seconds that the frames cover)."""
        sound = _sound.resampled(samples, sfreq, self.sfreq)
        inputs = self._extractor(sound, sampling_rate=int(self.sfreq), return_tensors="pt").to(device)
        values = inputs["input_values"] if "input_values" in inputs else inputs["input_features"]
        out = self._network.to(device)(values, output_hidden_states=bool(self.config.layers))
        if self.config.layers:
            known = range(-len(out.hidden_states), len(out.hidden_states))
            chosen = [out.hidden_states[checks.one_of("layers", k, known)] for k in self.config.layers]
            hidden = torch.stack(chosen).mean(0)
        else:
            hidden = out.last_hidden_state
        checks.n_axes("layer of an audio model", hidden, ("sound", "frame", "dim"))
        hidden, duration = hidden[0], len(sound) / self.sfreq
        padded = getattr(self._extractor, "chunk_length", None)  # Whisper's: every sound is filled up to 30 s
        if padded is not None:
            checks.in_range("length of a sound", duration, 0, padded, unit="s")
            hidden = hidden[: max(1, round(len(hidden) * duration / padded))]
        return hidden, duration

    @torch.inference_mode()
    def _own_end(self, sounds: list[tuple[np.ndarray, float]], device: str) -> Tensor:
        if not hasattr(self._whole, "get_audio_features"):
            raise checks.ConfigError(
                f"a {type(self._whole).__name__} has no embedding of a sound of its own; use pooling='mean'."
            )
        heard = [_sound.resampled(samples, sfreq, self.sfreq) for samples, sfreq in sounds]
        longest = getattr(self._extractor, "nb_max_samples", None)
        for sound in heard:  # a longer one would be cut at a random place
            if longest is not None:
                checks.in_range("samples of a sound", len(sound), 1, longest)
        inputs = self._extractor(heard, sampling_rate=int(self.sfreq), return_tensors="pt").to(device)
        if "is_longer" in inputs:  # of sounds that all fit, the extractor calls one at random longer
            inputs["is_longer"] = torch.zeros_like(torch.as_tensor(inputs["is_longer"]), dtype=torch.bool)
        found = self._whole.to(device).get_audio_features(**inputs)
        return found if isinstance(found, Tensor) else found.pooler_output


def segments(
    samples: np.ndarray, sfreq: float, onsets_s: Iterable[float], seconds: float
) -> Iterator[tuple[np.ndarray, float]]:
    """Sounds that begin at these times of a recording, for `embed_audio`.

    Raises
    ------
    ValueError
        If one reaches over an end of the recording.
    """
    n = round(seconds * sfreq)
    for onset in onsets_s:
        start = round(onset * sfreq)
        checks.in_range("first sample of a segment", start, 0, len(samples) - n)
        yield samples[start : start + n], sfreq
