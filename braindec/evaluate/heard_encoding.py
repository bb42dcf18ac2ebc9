"""Which voxels follow the sound of music and which its name: encoding models of both, paired over test clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec import checks, encoding, seeding, store
from braindec.data import NeuralDataset
from braindec.evaluate import encode, encode_maps, encode_partition, encode_text
from braindec.evaluate.encode_report import counted, interval
from braindec.evaluate.encoded import Encoded, Settings
from braindec.evaluate.heard import genres_of
from braindec.evaluate.scoring import group_scores, parse_key
from braindec.stats import corrections
from braindec.stats.intervals import wilson
from braindec.stats.permutation import p_value
from braindec.types import Embeddings, Score

SOUND, WORDS, BOTH = "sound", "words", "both"
METRIC, N_FLIPS, LEVEL = "encoding_correlation", 2000, 0.05
GENRE = "genre"  # words without a network: an indicator of each
VOXELS_AT_ONCE = 2048
Panel = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Compared:
    """Encoding models of one person, by what they are told.

    Parameters
    ----------
    models : mapping of str to Encoded
        `SOUND` and `WORDS` alone, `BOTH` with a penalty each.
    gain : float array, shape (n_voxels,)
        Mean over test clips of the squared error of words less that of sound, in variances of the voxel's responses.
    p : float array, shape (n_voxels,)
        Two-sided, of a gain whose sign is arbitrary clip by clip; with the share of false discoveries controlled.
    """

    models: Mapping[str, Encoded]
    gain: np.ndarray
    p: np.ndarray

    def told(self, model: str) -> np.ndarray:
        """Voxels that a model predicts beyond permuted clips, false discoveries controlled, bool (n_voxels,)."""
        return np.asarray(self.models[model].tested.p_fdr < LEVEL)

    @property
    def shares(self) -> dict[str, tuple[float, float, float]]:
        """Of voxels that either model predicts: where sound is better, where words are; with Wilson's 95 %.

        The interval takes voxels for independent, which neighbours are not: it is too narrow.
        """
        either = self.told(SOUND) | self.told(WORDS)
        n, found = int(either.sum()), {}
        for name, won in ((SOUND, self.gain > 0), (WORDS, self.gain < 0)):
            k = int((won & either & (self.p < LEVEL)).sum())
            low, high = wilson(k, max(n, 1))[:2]
            found[name] = (k / max(n, 1), float(low), float(high))
        return found if n else {}


def words_space(dataset: NeuralDataset, words: str = GENRE) -> Embeddings:
    """What words say of each clip, (n, 1, dim).

    Parameters
    ----------
    dataset : NeuralDataset
        Its stimuli's table has `category`.
    words : str
        ``"genre"``: an indicator of each genre; else a text target by name, which reads the stimuli's captions, or
        ``"jazz music"`` where none of them has one.
    """
    ids = dataset.stimulus_ids
    genres = genres_of(dataset, ids)
    if words == GENRE:
        values = (genres[:, None] == np.unique(genres)[None]).astype(np.float32)[:, None]
        told = {"indicators": np.unique(genres).tolist()}
        return Embeddings(ids, values, GENRE, told, store.content_hash(values=values, ids=list(ids)))
    if dataset.stimuli.captions:
        return encode_partition.caption_space(dataset, words)
    said = {i: f"{genre} music" for i, genre in zip(ids, genres.tolist(), strict=True)}
    return encode_text.meaning(said, words, context=0)


def compare(
    dataset: NeuralDataset, sound: Embeddings, words: Embeddings, *, settings: Settings
) -> dict[str, Compared]:
    """Encoding models told the sound, the words and both, of every person, judged on the same test clips.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split.
    sound, words : Embeddings
        Of its clips.
    settings : Settings
    """
    fits = {
        SOUND: encode.encode(dataset, {SOUND: sound}, preprocessing=encode.PREPROCESSING, settings=settings),
        WORDS: encode.encode(dataset, {WORDS: words}, preprocessing=encode.PREPROCESSING, settings=settings),
        BOTH: encode.encode(
            dataset, {SOUND: sound}, {WORDS: words}, preprocessing=encode.PREPROCESSING, settings=settings
        ),
    }
    found = {}
    for key in fits[SOUND]:
        models = {name: each[key] for name, each in fits.items()}
        made, truth = models[SOUND].predictions, models[SOUND].responses
        draw = seeding.numpy_generator(settings.seed, "heard flips", key)
        gain, p = paired_voxels(made, models[WORDS].predictions, truth, draw)
        found[key] = Compared(models, gain, corrections.fdr(p))
    return found


def paired_voxels(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, generator: np.random.Generator,
    n_flips: int = N_FLIPS,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """How much less squared error the first predictions have, voxel by voxel, with a sign-flip test over stimuli.

    Parameters
    ----------
    first, second, truth : float array, shape (n_stimuli, n_voxels)
    generator : numpy Generator
        Flips all voxels of a stimulus together.
    n_flips : int

    Returns
    -------
    gain : float array, shape (n_voxels,)
        Mean difference of squared errors over the variance of `truth`; 0 where that is constant.
    p : float array, shape (n_voxels,)
        Two-sided, (c + 1) / (n_flips + 1): never below 1 / (n_flips + 1).
    """
    n = checks.same_length("stimulus", first=first, second=second, truth=truth)
    checks.at_least("number of stimuli", n, 2)
    signs = generator.choice(np.array([-1.0, 1.0]), (n_flips, n))
    gain, p = (np.empty(truth.shape[1]) for _ in range(2))
    for start in range(0, truth.shape[1], VOXELS_AT_ONCE):
        some = slice(start, start + VOXELS_AT_ONCE)
        a, b, y = (v[:, some].astype(np.float64) for v in (first, second, truth))
        difference = (y - b) ** 2 - (y - a) ** 2
        observed = np.abs(difference.sum(0)) * (1 - 1e-12)  # the same sum in another order rounds differently
        p[some] = (1 + (np.abs(signs @ difference) >= observed).sum(0)) / (n_flips + 1)
        spread = y.var(0)
        gain[some] = np.where(spread > 0, difference.mean(0) / np.maximum(spread, 1e-300), 0.0)
    return gain, p


def scores(found: Mapping[str, Compared], protocol: str) -> list[Score]:
    """Mean test correlation of each model over voxels, beside refits to permuted clips."""
    rows = []
    for name in (BOTH, SOUND, WORDS):
        for key, one in found.items():
            subject, modality = parse_key(key)
            e = one.models[name]
            kept = counted(e)
            value, null = float(e.best[kept].mean()), e.null[:, kept].mean(1)
            p = p_value(value, null) if len(null) else None
            mean = float(null.mean()) if len(null) else 0.0
            details = {
                "n_voxels": int(kept.sum()), "significant_fdr": int(one.told(name).sum()), "n_train": e.n_train,
                "interval": "bootstrap over test stimuli",
            }  # fmt: skip
            rows.append(
                Score(
                    f"{METRIC}:{name}", "braindec", protocol, subject, modality, value, interval(e, kept), 0.0, mean,
                    len(e.test_ids), p=p, null_n=len(null), per_sample=e.best[kept], details=details,
                )
            )  # fmt: skip
    return [*rows, *group_scores(rows)]


def write_maps(found: Mapping[str, Compared], folder: Path) -> None:
    """Maps and models of every person, in a folder for each of what they are told."""
    for name in (SOUND, WORDS, BOTH):
        encode_maps.write_maps({key: one.models[name] for key, one in found.items()}, folder / name)


def panels(found: Mapping[str, Compared]) -> list[Panel]:
    """What sound and words predict, and of how many voxels the one better than the other."""
    rows, shares = [], []
    for key, one in found.items():
        person = key.replace("_", " ")
        r2 = {name: encoding.r2(*_pair(e)).numpy() for name, e in one.models.items()}
        alone = {SOUND: r2[BOTH] - r2[WORDS], WORDS: r2[BOTH] - r2[SOUND]}
        for name, e in one.models.items():
            kept = counted(e)
            low, high = interval(e, kept)
            null = f"{e.null[:, kept].mean():+.3f}" if len(e.null) else ""
            beyond = f"{alone[name][kept].mean():+.3f}" if name in alone else ""
            rows.append([person, name, f"{e.best[kept].mean():+.3f} [{low:+.3f}, {high:+.3f}]", null,
                         f"{int(one.told(name).sum())} of {len(e.chosen)}", beyond])  # fmt: skip
        n_clips, either = len(one.models[SOUND].test_ids), int((one.told(SOUND) | one.told(WORDS)).sum())
        shares += [
            [person, name, f"{share:.3f} [{low:.3f}, {high:.3f}]", either, n_clips]
            for name, (share, low, high) in one.shares.items()
        ]
    models = {
        "columns": ["person", "told", "test r", "permuted clips", "voxels, p < 0.05 (FDR)", "R² beyond the other"],
        "rows": rows, "section": "brain",
        "caption": "Means over all voxels, with 95 % over resampled test clips. R² beyond the other model is never "
        "clipped: below 0 a model added noise. Clips of one genre have the same words, unless they have captions.",
    }  # fmt: skip
    better = {
        "columns": ["person", "better told", "share of voxels", "voxels that either predicts", "test clips"],
        "rows": shares, "section": "brain",
        "caption": "Squared errors of the same test clips, paired; sign flips over clips, false discoveries controlled "
        "over all voxels. Models are fitted once: the test says nothing of other training clips. With few clips most "
        "differences stay below what it can see: what is left over is undecided, and not equal. Intervals take voxels "
        "for independent and are too narrow.",
    }  # fmt: skip
    return [
        ("What sound and words predict", "table", models),
        ("Sound or words, voxel by voxel", "table", better),
    ]


def _pair(e: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(e.predictions), torch.from_numpy(e.responses)
