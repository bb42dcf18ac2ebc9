"""NICE's checkpoints: the temporal-spatial convolution with its attention module, if it has one, and the projection.

Song et al. 2024, arXiv:2308.13234. A checkpoint is of one subject. Its encoder's tensors are called ``enc.*`` and its
projection's ``proj.*``; the published code saves both in files of their own, which are to be put into one.
"""

from __future__ import annotations

import re

import torch

from braindec import checks
from braindec.adapters import gain_bias
from braindec.backbones import temporal_spatial
from braindec.convert._checkpoint import Checkpoint
from braindec.convert._design import Design
from braindec.convert._keys import KeyMap, Reading
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

OUTPUT = "main"
OURS = r"encoder\.backbone\."
MERGE = (
    "holds no {} ('{}*'). The published code saves encoder and projection in two files; put them into one: "
    "torch.save({{'enc.' + k: v for k, v in encoder.items()}} | {{'proj.' + k: v for k, v in projection.items()}}, "
    "path)"
)
CONVOLUTION = {
    r"temporal": "tsconv.0",
    r"temporal_norm": "tsconv.2",
    r"spatial": "tsconv.4",
    r"spatial_norm": "tsconv.5",
    r"mix": "projection.0",
}
HEAD = {r"project": "proj.0", r"hidden\.1": "proj.1.fn.1", r"norm": "proj.2"}


def read(
    source: Checkpoint, *, n_times: int | None = None, pool: int = 51, stride: int = 5, subject: int = 1
) -> Reading:
    """What a checkpoint holds, in our parts; other sizes are read from its shapes.

    Parameters
    ----------
    source : Checkpoint
    n_times : int, optional
        Samples a trial; by default the fewest that give the checkpoint's number of steps, which are the published 250.
    pool, stride : int
        Length and step of the mean over time; no shape tells.
    subject : int
        Whose model it is; no shape tells.

    Raises
    ------
    DataFileError
        If the tensors are not those of one NICE.
    ConfigError
        If the settings do not fit the checkpoint.
    """
    checks.at_least("subject", subject, 1)
    place = _place(source)
    config, n_times, n_channels = _sizes(source, place, n_times, pool, stride)
    signal = SubjectSignal(subject, "eeg", (n_channels, n_times), ArraySpace(n_channels))
    n_dims = source.shape("proj.0.weight", 2)[0]
    design = Design(
        system="nice",
        info=SignalInfo({signal.key: signal}),
        outputs={OUTPUT: (1, n_dims)},
        adapter=gain_bias.Config(),
        backbone=config,
    )
    return _moved(KeyMap(source, design), signal.key, place, config)


def _place(source: Checkpoint) -> str:
    """How the convolution's names begin: ``enc.0.``, or ``enc.1.`` behind an attention module."""
    found = sorted({m[0] for key in source if (m := re.match(r"enc\.\d+\.(?=tsconv\.)", key))})
    if len(found) != 1:
        raise source.refused(MERGE.format("encoder", "enc."))
    if not source.under("proj."):
        raise source.refused(MERGE.format("projection", "proj."))
    return found[0]


def _sizes(
    source: Checkpoint, place: str, n_times: int | None, pool: int, stride: int
) -> tuple[temporal_spatial.Config, int, int]:
    """Settings, samples and channels."""
    n_filters, _, _, kernel = source.shape(f"{place}tsconv.0.weight", 4)
    n_channels = source.shape(f"{place}tsconv.4.weight", 4)[2]
    n_mixed = source.shape(f"{place}projection.0.weight", 4)[0]
    n_features = source.shape("proj.0.weight", 2)[1]
    attention = "none"
    if place != "enc.0.":
        attention = "graph" if source.under("enc.0.fn.0.conv1.") else "self"
    config = temporal_spatial.Config(
        n_filters=n_filters,
        kernel=kernel,
        pool=pool,
        stride=stride,
        n_mixed=None if n_mixed == n_filters else n_mixed,
        attention=attention,
        variant="published",
    )
    fewest = (n_features // n_mixed - 1) * stride + pool + kernel - 1
    n_times = fewest if n_times is None else n_times
    if n_times < kernel + pool - 1 or config.n_features(n_times) != n_features:
        raise checks.ConfigError(
            f"the checkpoint's projection takes {n_features} values, which {n_times} samples with pool {pool} and "
            f"stride {stride} do not give; set n_times ({fewest} would suit this pool and stride), pool or stride."
        )
    return config, n_times, n_channels


def _moved(keys: KeyMap, key: str, place: str, config: temporal_spatial.Config) -> Reading:
    rules = {rf"{OURS}tsconv\.{ours}\.(\w+)": rf"{place}{theirs}.\1" for ours, theirs in CONVOLUTION.items()}
    rules |= {
        rf"{OURS}heads\.heads\.to_{OUTPUT}\.{ours}\.(\w+)": rf"{theirs}.\1" for ours, theirs in HEAD.items()
    }
    if config.attention == "self":
        rules |= {
            rf"{OURS}attention\.norm\.(\w+)": r"enc.0.fn.0.\1",
            rf"{OURS}attention\.(query|key|projection)\.(\d)\.(\w+)": r"enc.0.fn.1.\1.\2.\3",
        }
    if config.attention == "graph":
        _graph(keys)
    keys.rename(rules)
    like = keys.wanted[f"encoder.adapters.{key}.gain"]
    own = f"encoder.adapters.{key}."
    keys.fill(own + "gain", torch.ones(like.shape), "NICE has no adapter: channels pass as they are")
    keys.fill(own + "bias", torch.zeros(like.shape), "NICE has no adapter: channels pass as they are")
    notes = ["The biases of both convolutions come before a batch norm and get no gradient. They are kept."]
    if config.attention != "none":
        notes.append(
            "The attention module has the faults of the published code, which these weights were trained with; see "
            "`braindec.backbones._channel_mixing`."
        )
    return keys.finish(notes)


def _graph(keys: KeyMap) -> None:
    ours, theirs = "encoder.backbone.attention.", "enc.0.fn.0.conv1."
    keys.move(ours + "source", theirs + "att_src", make=torch.flatten, what="its one head alone")
    keys.move(ours + "target", theirs + "att_dst", make=torch.flatten, what="its one head alone")
    keys.move(ours + "bias", theirs + "bias")
    # The name that torch_geometric gives the map changed with its release 2.5.
    older = theirs + "lin_src.weight"
    keys.move(ours + "map.weight", older if older in keys.source else theirs + "lin.weight")
