"""How a trained decoder meets a new subject by gradient steps: what is trained, what starts anew, what stays."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from braindec import checks, registry, seeding, train
from braindec.data import NeuralDataset
from braindec.encoder import Encoder
from braindec.types import Embeddings, SignalInfo, Trials

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

Mode = Literal["adapter", "reset", "all"]
MODES: tuple[Mode, ...] = ("adapter", "reset", "all")
Method = Literal["fine_tune", "empirical_bayes"]
METHODS: tuple[Method, ...] = ("fine_tune", "empirical_bayes")


def trained(encoder: Encoder, new: Sequence[str], mode: Mode) -> tuple[str, ...]:
    """How the names of the encoder's parameters begin that this mode trains.

    Parameters
    ----------
    encoder : Encoder
    new : sequence of str
        Of the new subjects' own parameters (`Encoder.add_subject`).
    mode : ``"adapter"``, ``"reset"`` or ``"all"``

    Raises
    ------
    ConfigError
        If ``"reset"`` is asked of a backbone that does not tell its first layers from the rest.
    """
    checks.one_of("mode", mode, MODES)
    if mode == "all":
        return ("",)
    if mode == "adapter":
        return tuple(new)
    first = encoder.backbone.first_layers
    if not first:
        raise checks.ConfigError(
            f"{type(encoder.backbone).__name__} does not tell its first layers from the rest; use mode 'adapter' or "
            "'all', or a backbone with first_layers (mlp, experts, masked_transformer, ...)."
        )
    return (*new, *(f"backbone.{name}" for name in first))


@torch.no_grad()
def reset_first_layers_(
    encoder: Encoder, backbone_config: Any, outputs: dict[str, tuple[int, int]], seed: int
) -> None:
    """Draws the backbone's first layers anew; everything behind them stays."""
    build = registry.load(*registry.name_of(backbone_config)).build
    with seeding.seeded(seed, "reset"):
        drawn = build(encoder.shared_shape, outputs, backbone_config).state_dict()
    for name, values in encoder.backbone.state_dict().items():
        if name.startswith(encoder.backbone.first_layers):
            values.copy_(drawn[name])


def leave_one_subject_out(
    decoder: BrainDecoder,
    part: NeuralDataset,
    embeddings: Embeddings,
    out_dir: str | Path | None = None,
    *,
    mode: Mode = "adapter",
    settings: train.Config | None = None,
    n_trials: int | None = None,
    progress: bool = True,
) -> Iterator[tuple[int, BrainDecoder]]:
    """Every subject met as a new one by a decoder that was fitted on all others.

    Parameters
    ----------
    decoder : BrainDecoder
        Unfitted (a pretrained trunk is used by all); it is copied, not changed.
    part : NeuralDataset
        Training trials of two subjects or more.
    embeddings : Embeddings
    out_dir : path, optional
        Logs and checkpoints go to its ``without-sub-01``, ...
    mode : ``"adapter"``, ``"reset"`` or ``"all"``
        See `BrainDecoder.adapt`.
    settings : train.Config, optional
        Of the adaptation; the decoder's own by default.
    n_trials : int, optional
        First trials of the new subject, in order of acquisition; all by default.

    Yields
    ------
    tuple of (int, BrainDecoder)
        The subject left out, and the decoder adapted to it.

    Raises
    ------
    ValueError
        If there are fewer than two subjects.
    """
    subjects = sorted({t.subject for t in part.trials.values()})
    checks.at_least("number of subjects", len(subjects), 2)
    for subject in subjects:
        folder = None if out_dir is None else Path(out_dir) / f"without-sub-{subject:02d}"
        others = replace(part, trials={k: t for k, t in part.trials.items() if t.subject != subject})
        own = {k: _first(t, n_trials) for k, t in part.trials.items() if k not in others.trials}
        known = copy.deepcopy(decoder)
        known.info = SignalInfo({key: decoder.info.of(key) for key in others.keys})
        place = None if folder is None else folder / "others"
        known.fit(others, embeddings, place, prior=False, progress=progress)
        new = replace(part, trials=own)
        yield subject, known.adapt(new, embeddings, folder, settings=settings, mode=mode, progress=progress)


def _first(trials: Trials, n: int | None) -> Trials:
    """The first trials in order of acquisition; all where no number is given."""
    if n is None:
        return trials
    return trials.take(np.sort(np.argsort(trials.table["acquisition_order"], kind="stable")[:n]))
