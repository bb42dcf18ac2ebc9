"""A safetensors file written tensor by tensor, and read without copies: never more than one of them in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from braindec import checks

NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
ALIGNMENT = 8  # bytes that the header is padded to; safetensors' format
CHUNK = 1 << 20  # values that are converted and checked at a time


def write(path: Path, like: Mapping[str, Tensor], make: Callable[[str], Tensor]) -> None:
    """Writes tensors of the shapes and types of `like` (which may have no memory), each asked of `make` by its name.

    Raises
    ------
    ValueError
        If a tensor is made in another shape, or holds NaN or infinity.
    """
    header: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in like.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": checks.known_key("type of tensor", str(tensor.dtype).removeprefix("torch."), NAMES),
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for name, tensor in like.items():
            _append(file, name, make(name), tensor)


def _append(file: BinaryIO, name: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape:
        raise ValueError(
            f"{name} was made with shape {tuple(value.shape)}, the model has {tuple(like.shape)}."
        )
    for part in value.detach().reshape(-1).split(CHUNK):
        part = part.to(like.dtype)
        if part.is_floating_point():
            checks.finite(name, part, way_out="A model with such weights predicts nothing.")
        file.write(memoryview(part.contiguous().view(torch.uint8).numpy()))
