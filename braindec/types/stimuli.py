"""What was presented, and its embedding in a model's space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec import checks
from braindec.types.table import Table, texts


@dataclass(frozen=True, eq=False)
class StimulusSet:
    """Stimuli by id; media are read on demand, never all at once.

    Parameters
    ----------
    ids : tuple of str
        Unique.
    kind : str
        ``"image"``, ``"video"``, ``"audio"``, ``"text"`` or ``"none"`` (only labels are known).
    read : callable or None
        ``read(ids) -> array``, e.g. uint8 (n, height, width, 3) in 0..255 for images, (n, n_frames, height, width, 3)
        for video; of audio a list of pairs, samples in [-1, 1] and their rate in Hz.
    captions : mapping of str to str
        By id, where known.
    table : Table or None
        A row a stimulus, in the order of `ids`: labels and factors.
    """

    ids: tuple[str, ...]
    kind: str
    read: Callable[[Sequence[str]], np.ndarray] | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    table: Table | None = None

    def __post_init__(self) -> None:
        checks.unique("stimulus ids", self.ids)
        checks.one_of("kind", self.kind, ("image", "video", "audio", "text", "none"))
        if self.table is not None and self.table.n_rows != len(self.ids):
            raise ValueError(
                f"table has {self.table.n_rows} along axis 'stimulus' but ids has {len(self.ids)}; they must match."
            )

    def __repr__(self) -> str:
        told = [f"{len(self.ids)} of kind {self.kind!r}"]
        told += [f"{len(self.captions)} with captions"] if self.captions else []
        told += [f"columns {', '.join(self.table)}"] if self.table is not None else []
        return f"StimulusSet({'; '.join(told)})"

    def images(self, ids: Sequence[str]) -> np.ndarray:
        """uint8 (n, height, width, 3) for these ids; of a clip its middle frame."""
        if self.read is None or self.kind not in ("image", "video"):
            raise ValueError(
                f"this stimulus set holds no images (kind {self.kind!r}); labels are in its table. Choose a target of "
                "labels or texts, or prepare the dataset again with its pictures."
            )
        found = self.read(ids)
        return found if self.kind == "image" else np.ascontiguousarray(found[:, found.shape[1] // 2])

    def clips(self, ids: Sequence[str]) -> np.ndarray:
        """uint8 (n, n_frames, height, width, 3) for these ids."""
        if self.read is None or self.kind != "video":
            raise ValueError(
                f"this stimulus set holds no clips (kind {self.kind!r}); prepare it with frames of each."
            )
        return self.read(ids)


@dataclass(frozen=True)
class EmbeddingsInfo:
    """What a model must know of the space it decodes into: name, one item's shape and what made it."""

    space: str
    shape: tuple[int, int]
    identity: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of stimuli, read by row on demand.

    Parameters
    ----------
    ids : tuple of str
        Order of the rows.
    values : array-like, shape (n_stimuli, n_tokens, n_dims)
        float32 or float16; numpy or anything that reads rows by ``[rows]`` and has ``shape``.
    space : str
        Name of the embedding space, e.g. ``"openclip/ViT-L-14/openai/pooled"``.
    identity : mapping
        What made them (model, weights' sha256, layer, transform): JSON values.
    provenance : str
        sha256 over identity and stimuli.
    """

    ids: tuple[str, ...]
    values: Any
    space: str
    identity: Mapping[str, Any]
    provenance: str

    def __post_init__(self) -> None:
        checks.n_axes("embeddings", np.empty((0,) * len(self.values.shape)), ("stimulus", "token", "dim"))
        if len(self.ids) != self.values.shape[0]:
            raise ValueError(
                f"values has {self.values.shape[0]} along axis 'stimulus' but ids has {len(self.ids)}; they must match."
            )
        object.__setattr__(
            self, "_row", {key: i for i, key in enumerate(checks.unique("embedding ids", self.ids))}
        )

    @classmethod
    def from_arrays(cls, ids: Sequence[Any], vectors: Any, space: str) -> Embeddings:
        """Embeddings that are arrays in memory.

        Parameters
        ----------
        ids : sequence, shape (n_stimuli,)
            Of the rows: text (bytes are decoded), or whole numbers that become their digits.
        vectors : array or tensor, shape (n_stimuli, n_dims) or (n_stimuli, n_tokens, n_dims)
            Kept as float32.
        space : str
            A name for what made them, e.g. ``"my-model/layer-3"``: a decoder refuses embeddings of another name.

        Raises
        ------
        ValueError
            If rows do not match, an id is missing or occurs twice, or a value is NaN or infinite.
        """
        from braindec import store

        if hasattr(
            vectors, "detach"
        ):  # a tensor: numpy takes none that has a gradient, and knows no bfloat16
            vectors = vectors.detach().cpu()
            vectors = (
                vectors.float() if vectors.is_floating_point() and vectors.element_size() < 4 else vectors
            )
        values = np.asarray(vectors)
        if values.ndim == 2:
            values = values[:, None]
        if values.ndim != 3 or values.dtype.kind not in "fiu":
            raise ValueError(
                f"vectors must be numbers (stimulus, dim) or (stimulus, token, dim), got {values.dtype} {values.shape}."
            )
        checks.finite("vectors", values)
        names = tuple(texts("ids", ids, "Name it, or leave that row out.").tolist())
        values = values.astype(np.float32)
        return cls(
            names, values, space, {"space": space}, store.content_hash(space=space, ids=names, values=values)
        )

    def __repr__(self) -> str:
        n_tokens, n_dims = self.values.shape[1:]
        return f"Embeddings({len(self.ids)} of {self.space!r}, {n_tokens} x {n_dims} each)"

    @property
    def info(self) -> EmbeddingsInfo:
        """Name and shape of the space."""
        n_tokens, n_dims = self.values.shape[1:]
        return EmbeddingsInfo(self.space, (int(n_tokens), int(n_dims)), self.identity)

    def positions(self, ids: Sequence[str]) -> np.ndarray:
        """Row of each of these stimulus ids, int64 (n,)."""
        row: dict[str, int] = self._row  # type: ignore[attr-defined]  # set in __post_init__ of a frozen dataclass
        missing = [i for i in ids if i not in row]
        if missing:
            first = f"{len(missing)} of {len(ids)} stimuli have no embedding, first {missing[0]!r}"
            if not isinstance(missing[0], str):
                raise ValueError(
                    f"{first}: ids are text, not {type(missing[0]).__name__}. Name them as strings."
                )
            known = ", ".join(repr(i) for i in self.ids[:3])
            raise ValueError(f"{first}. Those embedded are {known}, ...: embed this dataset's own stimuli.")
        return np.array([row[i] for i in ids], dtype=np.int64)

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """float32 (n, n_tokens, n_dims) for these stimulus ids, in that order, repeats allowed."""
        rows, back = np.unique(self.positions(ids), return_inverse=True)
        values = np.asarray(self.values[rows], dtype=np.float32)
        return values if np.array_equal(back, np.arange(len(rows))) else values[back]
