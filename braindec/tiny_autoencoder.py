"""Tiny autoencoders (TAESD and its successors) from the two state dicts that they are published as."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from braindec import checks, weights

N_GROUPS = 4  # of the norm between the two maps of a block that also sees the mean over places
ENDINGS = (".safetensors", ".pth")
State = Mapping[str, Tensor]


class Encoded(NamedTuple):
    """What `TinyAutoencoder.encode` gives."""

    latents: Tensor


class Decoded(NamedTuple):
    """What `TinyAutoencoder.decode` gives."""

    sample: Tensor


class TinyAutoencoder(nn.Module):
    """Encoder and decoder of residual blocks, as many and as wide as the state dicts say.

    diffusers' AutoencoderTiny is the same network without the maps that the newer ones (TAEF2) have in their blocks.

    Parameters
    ----------
    encoder, decoder : mapping of str to Tensor
        ``<place in the sequence>.<part>.<weight or bias>``.

    Raises
    ------
    DataFileError
        If they are not of such networks.
    """

    def __init__(self, encoder: State, decoder: State) -> None:
        super().__init__()
        self.encoder, self.decoder = _sequence(encoder, upwards=False), _sequence(decoder, upwards=True)

    def encode(self, x: Tensor) -> Encoded:
        """Latents (n, channel, row, column) of pictures (n, 3, height, width) in [-1, 1]."""
        return Encoded(self.encoder(x.add(1).div(2)))

    def decode(self, latents: Tensor) -> Decoded:
        """Pictures (n, 3, height, width), about in [-1, 1], of latents."""
        return Decoded(self.decoder(latents).mul(2).sub(1))


def files(folder: Path) -> tuple[Path, Path] | None:
    """The two files, ``*_encoder`` and ``*_decoder`` with one ending, in a folder without config.json; else None."""
    if (folder / "config.json").is_file():
        return None
    for ending in ENDINGS:
        found = [sorted(folder.glob(f"*_{part}{ending}")) for part in ("encoder", "decoder")]
        if all(len(one) == 1 for one in found):
            return found[0][0], found[1][0]
    return None


def load(encoder: Path, decoder: Path) -> TinyAutoencoder:
    """The network of two files, in float32; nothing of a file is run."""
    return TinyAutoencoder(_state(encoder), _state(decoder)).eval()


def _state(file: Path) -> State:
    if file.suffix == ".safetensors":
        return weights.tensors(file)
    found = torch.load(file, map_location="cpu", weights_only=True)
    return {name: value.float() for name, value in checks.of_type(str(file), found, dict).items()}


def _sequence(state: State, *, upwards: bool) -> nn.Sequential:
    places = sorted({int(name.split(".")[0]) for name in state if name.split(".")[0].isdigit()})
    if not places or any(not name.split(".")[0].isdigit() for name in state):
        raise checks.DataFileError(
            "state dict",
            "is of no tiny autoencoder",
            "Give the files *_encoder and *_decoder of TAESD or TAEF2.",
        )
    layers: list[nn.Module] = []
    for place in range(places[-1] + 1):
        part = {n.partition(".")[2]: v for n, v in state.items() if n.startswith(f"{place}.")}
        layers.append(_layer(part, place, upwards))
    made = nn.Sequential(*layers)
    made.load_state_dict(dict(state), strict=True)
    return made


def _layer(part: State, place: int, upwards: bool) -> nn.Module:
    if "conv.0.weight" in part:
        return _Block(part)
    if "weight" in part:
        n_out, n_in = part["weight"].shape[:2]
        stride = 1 if upwards or "bias" in part else 2
        return nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias="bias" in part)
    # Layers without weights, which a decoder alone has.
    return _Soft() if place == 0 else nn.ReLU() if place == 2 else nn.Upsample(scale_factor=2)


class _Soft(nn.Module):
    """Latents kept within three."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class _Block(nn.Module):
    """Three convolutions beside a shortcut; `pool`, where there is one, adds what two maps with a norm make."""

    def __init__(self, part: State) -> None:
        super().__init__()
        n_out, n_in = part["conv.0.weight"].shape[:2]
        self.conv = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.Conv2d(n_out, n_out, 3, padding=1), nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
        )  # fmt: skip
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()
        self.pool: nn.Sequential | None = None
        if "pool.0.weight" in part:
            wide = part["pool.0.weight"].shape[0]
            self.pool = nn.Sequential(
                nn.Conv2d(n_in, wide, 1, bias=False), nn.GroupNorm(N_GROUPS, wide), nn.ReLU(),
                nn.Conv2d(wide, n_in, 1, bias=False),
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + self.skip(x))
