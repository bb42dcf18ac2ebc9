"""How language models put tokens in a row: the likeliest, by beams, or sampled from the given generator alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from braindec import checks


@dataclass(frozen=True)
class Writing:
    """Settings of writing.

    Parameters
    ----------
    n_tokens : int
        A caption ends here at the latest.
    n_beams : int
        Continuations kept beside each other; 1 takes the likeliest token each time.
    temperature : float
        0: nothing is drawn, and equal embeddings give equal captions. Above: tokens are sampled, the more evenly the
        higher; takes one beam.
    batch_size : int
        Captions written together. Sampled ones are written one by one, so that it changes none of them.
    """

    n_tokens: int = 25
    n_beams: int = 1
    temperature: float = 0.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("n_tokens", "n_beams", "batch_size"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("temperature", self.temperature, 0.0)
        if self.temperature and self.n_beams > 1:
            raise checks.ConfigError("sampling (temperature above 0) takes one beam; set n_beams to 1.")

    def arguments(self) -> dict[str, Any]:
        """What ``generate`` of transformers is told; nothing of it is left to a file beside the weights."""
        drawn = {"temperature": self.temperature, "top_k": 0, "top_p": 1.0} if self.temperature else {}
        return {"max_new_tokens": self.n_tokens, "num_beams": self.n_beams, "do_sample": bool(self.temperature),
                "repetition_penalty": 1.0, "length_penalty": 1.0, **drawn}  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """Tokens, beams and temperature."""
        return {"n_tokens": self.n_tokens, "n_beams": self.n_beams, "temperature": self.temperature}


WRITING = Writing()


@torch.inference_mode()
def write(
    tokens_of: Callable[..., Tensor],
    told: Tensor,
    tokenizer: Any,
    writing: Writing,
    generator: torch.Generator,
    progress: bool = False,
    asked: Sequence[Sequence[int]] | None = None,
) -> tuple[str, ...]:
    """Captions of what a model is told, or its answers to what it is asked.

    Parameters
    ----------
    tokens_of : callable
        (some of `told`) -> ids of the written tokens, (n, n_written), by ``generate`` of a model on their device; where
        something is asked, (some of `told`, ids of their questions (n, n_ids)).
    told : Tensor, shape (n, ...)
        On the model's device.
    tokenizer
        Of transformers; what marks beginning, end and padding is left out.
    writing : Writing
    generator : torch.Generator
        Seeds every caption's draw, all at once; the global generators stay as they were.
    asked : sequence of sequence of int, length n, optional
        Ids of each row's question. Those of equal length are asked together: nothing is padded, so that no row's answer
        depends on another's length.

    Returns
    -------
    tuple of str, length n
    """
    n, sampled = len(told), writing.temperature > 0
    seeds = (
        torch.randint(1 << 62, (n,), generator=generator, device=generator.device).tolist() if sampled else []
    )
    size = 1 if sampled else writing.batch_size
    devices = [told.device] if told.device.type == "cuda" else []
    texts = [""] * n
    batches = list(_batches([0] * n if asked is None else [len(ids) for ids in asked], size))
    for rows in tqdm(batches, desc="caption" if asked is None else "answer", disable=not progress):
        with torch.random.fork_rng(devices=devices):
            if sampled:
                torch.manual_seed(seeds[rows[0]])
            if asked is None:
                ids = tokens_of(told[rows])
            else:
                ids = tokens_of(told[rows], torch.tensor([asked[i] for i in rows], device=told.device))
        for i, text in zip(rows, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            texts[i] = " ".join(text.split())
    return tuple(texts)


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Rows of equal length, at most `size` at a time."""
    for length in sorted(set(lengths)):
        rows = [i for i, own in enumerate(lengths) if own == length]
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
