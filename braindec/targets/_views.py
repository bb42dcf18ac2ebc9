"""What is done to a picture before a target's own transform, and to an embedding after its model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, store

MAP_KEYS = ("mean", "std", "weight", "bias")


@dataclass(frozen=True)
class View:
    """Which frequencies of a picture a target gets to see; all of them by default.

    Parameters
    ----------
    blur : float
        Standard deviation of a Gaussian, as a fraction of the shorter side; 0 leaves the picture as it is.
    low_pass : float or None
        Frequencies above this many cycles per shorter side are taken out (a sharp limit).

    Notes
    -----
    Both act on the picture mirrored at its edges. Brain signals often hold the coarse content of a picture alone; as
    targets, Wu et al. 2025 (UBP, arXiv:2503.04207) use blurred pictures.
    """

    blur: float = 0.0
    low_pass: float | None = None

    def __post_init__(self) -> None:
        checks.in_range("blur", self.blur, 0.0, 1.0)
        if self.low_pass is not None and not self.low_pass > 0:
            raise ValueError(f"low_pass must be above 0 cycles, got {self.low_pass}.")

    @property
    def plain(self) -> bool:
        """Whether pictures pass as they are."""
        return self.blur == 0 and self.low_pass is None

    def identity(self) -> dict[str, Any]:
        """For provenance; empty where pictures pass as they are."""
        return {} if self.plain else {"view": asdict(self)}

    @property
    def label(self) -> str:
        """Part of a space's name, empty where pictures pass as they are."""
        low = "" if self.low_pass is None else f"/low_pass-{self.low_pass:g}"
        return (f"/blur-{self.blur:g}" if self.blur else "") + low

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The picture as it is seen.

        Parameters
        ----------
        picture : uint8 array, shape (height, width, 3)

        Returns
        -------
        uint8 array, shape (height, width, 3)
        """
        if self.plain:
            return picture
        from scipy import fft

        height, width = picture.shape[:2]
        side = min(height, width)
        # Cosine k of n samples runs k / 2 cycles over them: cycles per shorter side, by row and by column.
        rows = np.arange(height)[:, None] / 2 * side / height
        columns = np.arange(width)[None] / 2 * side / width
        squared = rows**2 + columns**2
        kept = np.exp(-2 * np.pi**2 * self.blur**2 * squared)
        if self.low_pass is not None:
            kept = kept * (squared <= self.low_pass**2)
        spectrum = fft.dctn(picture.astype(np.float64), axes=(0, 1), norm="ortho")
        seen = fft.idctn(spectrum * kept[..., None], axes=(0, 1), norm="ortho")
        return seen.round().clip(0, 255).astype(np.uint8)


class LinearMap:
    """A fixed map of embeddings, such as one that draws them to human similarity judgements.

    Parameters
    ----------
    file : str or Path
        safetensors with some of ``mean``, ``std`` (scalars or vectors), ``weight`` (dim, new dim) and ``bias``:
        ``y = (x - mean) / std @ weight + bias``, in this order.

    Notes
    -----
    The form of Muttenthaler et al. 2023 (gLocal transforms, arXiv:2306.04507). A file of ``mean`` and ``std`` alone,
    computed on training stimuli, standardises a target.
    """

    def __init__(self, file: str | Path) -> None:
        from safetensors.torch import load_file

        way_out = "Give a .safetensors file that holds mean, std, weight or bias."
        path = checks.existing_file(file, way_out)
        self._tensors = {name: t.float() for name, t in load_file(path).items()}
        unknown = sorted(set(self._tensors) - set(MAP_KEYS))
        if unknown or not self._tensors:
            raise checks.DataFileError(
                path, f"holds {unknown or 'nothing'}, expected {list(MAP_KEYS)}", way_out
            )
        self._path, self.digest = path, store.sha256_of(path)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., new dim)."""
        parts = {name: t.to(x.device) for name, t in self._tensors.items()}
        weight = parts.get("weight")
        sizes = {name: t.numel() for name, t in parts.items() if name in ("mean", "std") and t.numel() > 1}
        if weight is not None:
            sizes["weight"] = weight.shape[0]
        for name, size in sizes.items():
            if size != x.shape[-1]:
                found = f"holds {name} for {size} dims, the target has {x.shape[-1]}"
                raise checks.DataFileError(self._path, found, "Use the map of this target.")
        x = (x - parts.get("mean", torch.zeros(1).to(x))) / parts.get("std", torch.ones(1).to(x))
        x = x if weight is None else x @ weight
        return x + parts["bias"] if "bias" in parts else x


def save_map(
    path: str | Path, *, mean: Tensor, std: float | Tensor, weight: Tensor, bias: Tensor | None = None
) -> Path:
    """Writes a file that targets take as `aligned`, float32, whole or not at all; see `LinearMap`.

    Parameters
    ----------
    path : path
        Ends in .safetensors.
    mean, std, weight, bias
        As in `LinearMap`.
    """
    from safetensors.torch import save_file

    given = {"mean": mean, "std": torch.as_tensor(std), "weight": weight}
    given |= {} if bias is None else {"bias": bias}
    for name, value in given.items():
        checks.finite(name, value)
    with store.atomic_path(path) as temporary:
        save_file(
            {name: value.detach().cpu().float().contiguous() for name, value in given.items()}, temporary
        )
    return Path(path)


def map_of(file: str | None) -> LinearMap | None:
    """The map of a setting, if there is one."""
    return None if file is None else LinearMap(file)


def map_identity(aligned: LinearMap | None) -> dict[str, Any]:
    """For provenance; empty without a map."""
    return {} if aligned is None else {"aligned_sha256": aligned.digest}


def map_label(aligned: LinearMap | None) -> str:
    """Part of a space's name, empty without a map."""
    return "" if aligned is None else f"/aligned-{aligned.digest[:12]}"


def not_a_path(image: Any) -> None:
    """Refuses the name of a file where a picture is wanted, and says how files are read."""
    if isinstance(image, str | Path):
        raise TypeError(
            f"image must be uint8 (height, width, 3) or a PIL picture, got the path {str(image)!r}; files are read by "
            "braindec.data.image_files.rgb: target.embed_images(image_files.rgb(paths))."
        )


def as_array(image: Any) -> np.ndarray:
    """A picture (height, width, 3) of uint8 from an array or from PIL.

    Raises
    ------
    ValueError, TypeError
        If it has other axes, or other values than bytes.
    """
    not_a_path(image)
    array = image if isinstance(image, np.ndarray) else np.asarray(image.convert("RGB"))
    checks.n_axes("image", array, ("height", "width", "rgb"))
    if array.dtype != np.uint8:
        raise TypeError(f"image must be uint8 in 0-255, got {array.dtype}.")
    return array
