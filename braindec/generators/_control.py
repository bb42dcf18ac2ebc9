"""A brain's own control branch: what it adds to a frozen UNet, and how far that network then misses the truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from braindec import _compat, checks, store

CONFIG, WEIGHTS = "branch.json", "branch.safetensors"
COARSE = 4  # places a side that features are first laid out on


@dataclass(frozen=True)
class Config:
    """Settings of a control branch.

    Parameters
    ----------
    n_channels : int
        Of the coarse map that features are laid out on.
    """

    n_channels: int = 32

    def __post_init__(self) -> None:
        checks.at_least("n_channels", self.n_channels, 1)


class Controllable(Protocol):
    """A generator whose UNet takes residuals."""

    branch: BrainControl | None

    @property
    def unet(self) -> Any:
        """Its UNet2DConditionModel."""

    def clean(self, pictures: np.ndarray) -> Tensor:
        """Latents of pictures (n, height, width, 3), as the UNet works on them."""

    def misses(
        self, clean: Tensor, embeddings: Tensor, features: Tensor, noise: Tensor, share: Tensor
    ) -> Tensor:
        """Mean square by which the UNet, with its branch, misses what it should say of noisy latents.

        Parameters
        ----------
        clean, noise : Tensor, shape (n, channel, height, width)
        embeddings : Tensor, shape (n, n_tokens, dim)
            Image embeddings.
        features : Tensor, shape (n, n_features)
            What the branch reads.
        share : Tensor, shape (n,)
            In [0, 1): which noise level, as a share of all.

        Returns
        -------
        Tensor, shape (n,)
        """

    def moved_(self, device: torch.device) -> None:
        """Brings its networks to a device."""


class BrainControl(nn.Module):
    """Residuals for a frozen UNet from features of a brain: a trained copy of its first half, closed by zeros.

    Parameters
    ----------
    unet : UNet2DConditionModel
        Copied, never changed.
    n_features : int
    config : Config
    mean, std : Tensor, shape (n_features,), optional
        Of the features of training trials.

    Notes
    -----
    ControlNet (Zhang et al. 2023, arXiv:2302.05543) whose map is not a picture but laid out from brain features, as in
    NeuroPictor (Huo et al. 2024, arXiv:2403.18211), CMVDM (Zeng et al. 2023, arXiv:2305.10135) and GWIT (Lopez et al.
    2024, arXiv:2410.02780). Every residual leaves through a convolution that begins as zero: untrained, it
    changes nothing.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        unet: Any,
        n_features: int,
        config: Config,
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ) -> None:
        super().__init__()
        _compat.ensure_torchvision()
        from diffusers import ControlNetModel

        self.config, self.n_features = config, checks.at_least("n_features", n_features, 1)
        self.register_buffer("mean", torch.zeros(n_features) if mean is None else mean.float())
        self.register_buffer("std", torch.ones(n_features) if std is None else std.float())
        self.trunk = ControlNetModel.from_unet(unet).float()
        size = unet.config.sample_size
        self.trunk.controlnet_cond_embedding = Reader(
            n_features, config.n_channels, self.trunk.config.block_out_channels[0],
            (size, size) if isinstance(size, int) else tuple(size),
        )  # fmt: skip
        self.requires_grad_(True).eval()

    def forward(
        self, x: Tensor, level: Tensor, features: Tensor, told: dict[str, Any], scale: float = 1.0
    ) -> dict[str, Any]:
        """Keywords for the UNet: residuals of its first half and its middle.

        Parameters
        ----------
        x : Tensor, shape (n, channel, height, width)
            What the UNet sees.
        level : Tensor
            Of noise.
        features : Tensor, shape (n, n_features)
        told : dict
            What the UNet is told: `encoder_hidden_states`, `class_labels`, `added_cond_kwargs`.
        scale : float
            What the residuals are multiplied by.
        """
        known = {key: told.get(key) for key in ("encoder_hidden_states", "class_labels", "added_cond_kwargs")}
        down, middle = self.trunk(
            x, level, controlnet_cond=(features - self.mean) / self.std, conditioning_scale=scale,
            return_dict=False, **known,
        )  # fmt: skip
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


class Reader(nn.Module):
    """Features laid out on a coarse map, and drawn out to the size of the latents."""

    def __init__(self, n_features: int, n_channels: int, n_out: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.n_channels = size, n_channels
        self.lay = nn.Linear(n_features, n_channels * COARSE * COARSE)
        self.draw = nn.Sequential(
            nn.Conv2d(n_channels, n_out, 3, padding=1), nn.SiLU(), nn.Conv2d(n_out, n_out, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Maps (n, n_out, height, width) of features (n, n_features)."""
        laid = self.lay(features).unflatten(1, (self.n_channels, COARSE, COARSE))
        return self.draw(nn.functional.interpolate(laid, self.size, mode="bilinear", align_corners=False))


def save(branch: BrainControl, folder: str | Path) -> None:
    """Writes a branch into a folder, for `load`."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"n_features": branch.n_features, **asdict(branch.config)}
    store.write_json(folder / CONFIG, about)
    with store.atomic_path(folder / WEIGHTS) as part:
        save_file({key: value.contiguous() for key, value in branch.state_dict().items()}, part)


def load(folder: str | Path, unet: Any) -> BrainControl:
    """The branch of a folder, for the UNet that it was trained beside.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    DataFileError
        If its weights are not those of a branch of this UNet.
    """
    from safetensors.torch import load_file

    made = "Write it with generators._control.save."
    about = store.read_json(Path(folder) / CONFIG, made)
    file = checks.existing_file(Path(folder) / WEIGHTS, made)
    branch = BrainControl(unet, about.pop("n_features"), Config(**about))
    try:
        branch.load_state_dict(load_file(file), strict=True)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise checks.DataFileError(file, f"is of another network ({said})", made) from error
    return branch.requires_grad_(False).eval()
