"""Music that lies in a folder of its own: clips that a dataset names, galleries of others, and their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, registry, store
from braindec.data import NeuralDataset, sounds
from braindec.data.download import hashes
from braindec.targets import AudioTarget
from braindec.targets._embedding import embed
from braindec.types import Embeddings, StimulusSet, Table

SHORT_S = 0.5  # a file may end so much before a clip that was played from it; the rest is silent
COLUMNS = ("wav", "onset_s", "length_s")
WAY_OUT = "Put the music there as WAV, or name its folder: --set settings.music=DIR."
Sound = tuple[np.ndarray, float]
Place = tuple[str, float | None, float]  # file, seconds from its beginning (None: its middle), seconds


@dataclass(frozen=True)
class Listening:
    """How clips are read and embedded.

    Parameters
    ----------
    sfreq : float
        Hz that files are resampled to, what a target asks for or above.
    fade_s : float
        Seconds over which a clip that was presented rises and falls.
    window_s, step_s : float
        A clip's embedding is the mean over windows of this length and distance: networks hear no more at a time.
    """

    sfreq: float = 48_000.0
    fade_s: float = 2.0
    window_s: float = 5.0
    step_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("sfreq", "window_s", "step_s"):
            checks.at_least(name, getattr(self, name), 1e-3)
        checks.at_least("fade_s", self.fade_s, 0.0)


@dataclass(frozen=True, eq=False)
class Clips:
    """Reads clips of WAV files by id: float32 samples in [-1, 1] and their rate in Hz.

    Parameters
    ----------
    folder : Path
    places : mapping of str to (file below `folder`, seconds or None, seconds)
        Where a clip begins, None for the middle of its file, and how long it is.
    sfreq, fade_s : float
    """

    folder: Path
    places: Mapping[str, Place]
    sfreq: float
    fade_s: float = 0.0

    def __call__(self, ids: Sequence[str]) -> Any:
        """The clips, a list of pairs in this order; a DataFileError where a file ends before its clip."""
        return [(self._one(*checks.known_key("clip", i, self.places)), self.sfreq) for i in ids]

    def _one(self, wav: str, onset_s: float | None, length_s: float) -> np.ndarray:
        path = self.folder / wav
        track = sounds.read_wav(path, self.sfreq)
        n = round(length_s * self.sfreq)
        start = max(0, (len(track) - n) // 2) if onset_s is None else round(onset_s * self.sfreq)
        lacking = n - len(track[start : start + n])
        if lacking > SHORT_S * self.sfreq:
            found = f"lasts {len(track) / self.sfreq:.1f} s; a clip from {start / self.sfreq:.1f} s on has {length_s:g}"
            raise checks.DataFileError(path, found, "Get the whole track, or leave it out of the folder.")
        clip = np.pad(track[start : start + n], (0, max(0, lacking)))
        return clip * faded(n, round(self.fade_s * self.sfreq))

    def content(self) -> str:
        """One hash over the files and how they are cut."""
        files = sorted({self.folder / wav for wav, _, _ in self.places.values()})
        told = {i: list(place) for i, place in self.places.items()}
        return store.content_hash(
            files=hashes(self.folder, files), places=told, sfreq=self.sfreq, fade_s=self.fade_s
        )


def faded(n: int, n_fade: int) -> np.ndarray:
    """Factors of a clip that rises and falls in straight lines, float32 (n,)."""
    place = np.arange(n) + 0.5
    return np.minimum(1.0, np.minimum(place, n - place) / max(n_fade, 0.5)).astype(np.float32)


def with_music(
    dataset: NeuralDataset, folder: str | Path, data_dir: str | Path, listening: Listening
) -> NeuralDataset:
    """The dataset with the clips that its stimuli's table names, read from a folder when they are asked for.

    Parameters
    ----------
    dataset : NeuralDataset
        Its stimuli's table has `wav` (below the folder), `onset_s` and `length_s`.
    folder : path
        Relative: from the prepared folder `data_dir`.
    data_dir : path
    listening : Listening

    Raises
    ------
    FileNotFoundError
        If the folder, or a file of a clip, is not there.
    """
    place = checks.existing_folder(Path(data_dir) / folder, WAY_OUT)
    table = checks.of_type("table of the stimuli", dataset.stimuli.table, Table)
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise ValueError(f"the stimuli's table has no columns {lacking}; it has {sorted(table)}.")
    rows = zip(*(table[name].tolist() for name in COLUMNS), strict=True)
    places: dict[str, Place] = dict(zip(dataset.stimuli.ids, rows, strict=True))
    for wav in dict.fromkeys(wav for wav, _, _ in places.values()):
        checks.existing_file(place / wav, WAY_OUT)
    clips = Clips(place, places, listening.sfreq, listening.fade_s)
    heard = replace(dataset.stimuli, kind="audio", read=clips)
    return replace(dataset, stimuli=heard, about={**dataset.about, "stimuli": {"sha256": clips.content()}})


class Windowed(AudioTarget):
    """The mean of another target's embeddings of the windows of a sound, a token each as there.

    Parameters
    ----------
    target : AudioTarget
    window_s, step_s : float
        Windows lie in the sound as a whole; what is left at its end is not heard.
    """

    def __init__(self, target: AudioTarget, window_s: float, step_s: float) -> None:
        self.target, self.window_s, self.step_s = target, window_s, step_s
        self.name, self.shape = target.name, target.shape
        self.space = f"{target.space}/mean of {window_s:g} s every {step_s:g} s"

    def identity(self) -> dict[str, Any]:
        """The target's, and the windows."""
        return {**self.target.identity(), "window_s": self.window_s, "step_s": self.step_s}

    def embed_audio(
        self, sounds: Iterable[Sound], *, batch_size: int = 8, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, n_tokens, n_dims); see `AudioTarget.embed_audio`.

        Raises
        ------
        ValueError
            If a sound is shorter than a window.
        """
        parts = [np.empty((0, *self.shape), np.float32)]
        for samples, sfreq in sounds:
            cut = self._windows(samples, sfreq)
            made = self.target.embed_audio(cut, batch_size=batch_size, device=device, progress=False)
            parts.append(made.mean(0, keepdims=True, dtype=np.float64).astype(np.float32))
        return np.concatenate(parts)

    def _windows(self, samples: np.ndarray, sfreq: float) -> list[Sound]:
        n, step = round(self.window_s * sfreq), round(self.step_s * sfreq)
        checks.at_least("samples of a sound", len(samples), n)
        return [(samples[a : a + n], sfreq) for a in range(0, len(samples) - n + 1, step)]


def embedded(
    target: Any, stimuli: StimulusSet, ids: Sequence[str], content: str, listening: Listening, cache: Path | None
) -> Embeddings:  # fmt: skip
    """Embeddings of sounds, by windows; kept in `cache`.

    Parameters
    ----------
    target : a target's Config
        Of one that embeds sounds of `listening.window_s`.
    stimuli : StimulusSet
        Of kind audio.
    ids : sequence of str
    content : str
        Hash of what is read.
    listening : Listening
    cache : Path or None
    """
    made = registry.load(*registry.name_of(target)).build(target)
    windowed = Windowed(checks.of_type("target", made, AudioTarget), listening.window_s, listening.step_s)
    return embed(windowed, stimuli, content=content, ids=ids, cache=cache)


def music_embeddings(
    recipe: Any, dataset: NeuralDataset, data_dir: str | Path, listening: Listening
) -> Embeddings:
    """Those of the clips at hand in the recipe's target space, kept beside the prepared data."""
    content = dataset.about["stimuli"]["sha256"]
    cache = Path(data_dir) / "embeddings"
    return embedded(recipe.target, dataset.stimuli, dataset.stimulus_ids, content, listening, cache)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Clips that nobody was presented in the test, which a decoded embedding is looked up in.

    Parameters
    ----------
    ids : tuple of str
    genres : str array, shape (n,)
    values : float32 array, shape (n, n_tokens, n_dims)
    read : callable
        Sounds by id, as of `StimulusSet`.
    said : str
        What the clips are.
    """

    ids: tuple[str, ...]
    genres: np.ndarray
    values: np.ndarray
    read: Callable[[Sequence[str]], Any]
    said: str


def gallery(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, data_dir: str | Path, listening: Listening,
    folder: str | Path | None = None,
) -> Gallery:  # fmt: skip
    """The clips of a folder, ``<genre>/<name>.wav`` each; without one those of the dataset's train part.

    Tracks that a test clip is taken from are left out: a clip's own track has its genre.

    Parameters
    ----------
    recipe : Recipe
        Its target embeds them.
    dataset : NeuralDataset
        With music and a split.
    embeddings : Embeddings
        Of the dataset's clips.
    data_dir : path
    listening : Listening
        Clips of a folder are as long as the dataset's, from the middle of each file.
    folder : path, optional
        Relative: from `data_dir`.
    """
    table = checks.of_type("table of the stimuli", dataset.stimuli.table, Table)
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    tested = {str(table["wav"][row[i]]) for i in dataset.part("test").stimulus_ids}
    if folder is None:
        ids = tuple(i for i in dataset.part("train").stimulus_ids if str(table["wav"][row[i]]) not in tested)
        checks.at_least("training clips of tracks that are not tested", len(ids), 2)
        genres = table["category"][[row[i] for i in ids]].astype(str)
        read = checks.of_type("reader of the stimuli", dataset.stimuli.read, Clips)
        return Gallery(ids, genres, embeddings.of(ids), read, f"{len(ids)} training clips")
    place = checks.existing_folder(Path(data_dir) / folder, "Name a folder of <genre>/<name>.wav.")
    left_out = {Path(wav).name for wav in tested}
    files = [f for f in sorted(place.glob("*/*.wav")) if f.name not in left_out]
    if len(files) < 2:
        raise FileNotFoundError(f"{place} holds {len(files)} files <genre>/<name>.wav; a gallery needs two.")
    length = float(table["length_s"][0])
    clips = Clips(place, {f.relative_to(place).as_posix(): (f.relative_to(place).as_posix(), None, length)
                          for f in files}, listening.sfreq)  # fmt: skip
    named = StimulusSet(tuple(clips.places), "audio", read=clips)
    made = embedded(
        recipe.target, named, named.ids, clips.content(), listening, Path(data_dir) / "embeddings"
    )
    genres = np.array([f.parent.name for f in files])
    return Gallery(named.ids, genres, made.of(named.ids), clips, f"{len(files)} clips of a folder")
