"""One random generator per purpose, derived from (seed, purpose), so that adding a draw never shifts another one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed that depends on the seed and on every word of the purpose.

    Parameters
    ----------
    seed : int
        The seed of the run.
    *purpose : object
        Words and numbers that name what is drawn, e.g. ``("null", 3)``.

    Returns
    -------
    int
        In [0, 2**63); equal input gives equal output on every machine and Python.
    """
    text = "\x1f".join([str(int(seed)), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *purpose: object, device: str = "cpu") -> torch.Generator:
    """A torch generator seeded for one purpose."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *purpose))


def numpy_generator(seed: int, *purpose: object) -> np.random.Generator:
    """A numpy generator seeded for one purpose."""
    import numpy as np

    return np.random.default_rng(derive(seed, *purpose))


def start_global_(device: torch.device, seed: int, *purpose: object) -> None:
    """Sets torch's global generators, which dropout draws from: the CPU's alone where nothing runs elsewhere.

    `torch.manual_seed` asks every kind of accelerator; those that are not there keep each call with its traceback for
    later, a millisecond and a few kilobytes a training step.
    """
    import torch

    value = derive(seed, *purpose)
    if device.type == "cpu":
        torch.default_generator.manual_seed(value)
    else:
        torch.manual_seed(value)


@contextlib.contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Inside, what draws from torch's global CPU generator (the initial weights of modules) draws for this purpose.

    Afterwards the global generator is where it was before, so that nothing outside notices.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        # The default generator alone: torch.manual_seed would also reseed accelerators, which are not put back here.
        torch.default_generator.manual_seed(derive(seed, *purpose))
        yield
