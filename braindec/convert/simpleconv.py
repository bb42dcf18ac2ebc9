"""The speech decoder's SimpleConv checkpoints: a merger of sensors, a matrix a subject, dilated convolutions.

Défossez et al. 2023, doi:10.1038/s42256-023-00714-5. A checkpoint holds no sensors: the published model is told their
places with every trial. The folder's adapters stand on one sensor until `on_sensors` gives them the ones that measured;
`predict` takes trials with their places as the published model does.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.adapters import spatial_merger
from braindec.adapters.spatial_merger import Merger, SpatialMerger
from braindec.backbones import dilated_conv
from braindec.backbones.dilated_conv import DilatedConv
from braindec.convert._checkpoint import Checkpoint
from braindec.convert._design import SEED, Converted, Design
from braindec.convert._keys import KeyMap, Reading
from braindec.encoder import Encoder
from braindec.types import SensorSpace, SignalInfo, SubjectSignal

OUTPUT = "main"
VERTEX = (
    0.1  # metres above the centre of the head: where the sensor stands that is there before sensors are known
)
LAYER = re.compile(r"encoders\.(\w+)\.(sequence|glus)\.(\d+)\.")


def read(source: Checkpoint, *, n_times: int = 361, dilation_period: int = 5, skip: bool = True) -> Reading:
    """What a checkpoint holds, in our parts; sizes are read from its shapes.

    Parameters
    ----------
    source : Checkpoint
    n_times : int
        Samples a trial; the weights suit any number. The published: 3 s at 120 Hz, both ends.
    dilation_period : int
        Convolutions after which dilation begins again at 1; no shape tells.
    skip : bool
        Convolutions are added to their input where shapes are equal; no shape tells. Only true is computed.

    Raises
    ------
    DataFileError
        If the tensors are not those of one SimpleConv with merger, subject layers and complex output.
    ConfigError
        If `skip` is false.
    """
    if not skip:
        raise checks.ConfigError("simpleconv is read with skip=true alone, the published setting.")
    modality, settings = _trunk(source, dilation_period)
    n_virtual, n_features = source.shape("merger.heads", 2)
    n_subjects = source.shape("subject_layers.weights", 3)[0]
    n_dims = source.shape("final.2.weight", 3)[1]
    adapter = spatial_merger.Config(
        n_virtual=n_virtual,
        n_frequencies=_frequencies(source, n_features),
        initial_linear=bool(source.under("initial_linear.")),
    )
    signals = [_on_one_sensor(i + 1, modality, n_times) for i in range(n_subjects)]
    info = SignalInfo({signal.key: signal for signal in signals})
    design = Design("simpleconv", info, {OUTPUT: (n_times, n_dims)}, adapter, settings)
    return _moved(KeyMap(source, design), modality, signals)


def on_sensors(converted: Converted, info: SignalInfo) -> Encoder:
    """The converted model for the sensors of these subjects, in eval mode.

    Parameters
    ----------
    converted : Converted
        From `convert.load`; it shares its weights with what is returned.
    info : SignalInfo
        Subject k of the checkpoint's ``subject_layers`` is subject k + 1; a subject that is not in it starts as the
        mean of those who are. All have the same number of samples.

    Raises
    ------
    ValueError
        If a signal has no sensors with known places, or its modality is another one.
    """
    checks.at_least("number of signals", len(info.signals), 1)
    merger, _ = _parts(converted)
    config = converted.design.adapter
    shapes = {signal.shape[1:] for signal in info.signals.values()}
    if len(shapes) != 1:
        raise ValueError(f"signals must have one number of samples, got {sorted(shapes)}.")
    n_times = shapes.pop()[0]
    own = {key: _matrix(converted, key) for key in converted.encoder.keys}
    encoder = Encoder(_of_length(converted, n_times), (config.n_virtual, n_times), config, SEED)
    name = next(iter(converted.encoder.shared))
    encoder.shared[name] = merger
    for key, signal in info.signals.items():
        if f"spatial_merger_{signal.modality}" != name:
            raise ValueError(f"{key} is {signal.modality}, the checkpoint is of {name.rpartition('_')[2]}.")
        encoder.add_subject(signal)
        adapter = checks.of_type("adapter", encoder.adapter(key), SpatialMerger)
        adapter.matrix.data = own.get(key, torch.stack(list(own.values())).mean(0)).clone()
    return encoder.eval()


@torch.no_grad()
def predict(converted: Converted, signal: Tensor, positions: Tensor, subject_index: Tensor) -> Tensor:
    """What the published model computes from trials that come with the places of their sensors.

    Parameters
    ----------
    converted : Converted
    signal : Tensor, shape (n_trials, n_channels, n_times)
    positions : Tensor, shape (n_trials, n_channels, 2)
        In the unit square; negative or NaN where a sensor has no place.
    subject_index : int Tensor, shape (n_trials,)
        From 0, in the order of the checkpoint.

    Returns
    -------
    Tensor, shape (n_trials, n_dims, n_times)
    """
    checks.same_length("trial", signal=signal, positions=positions, subject_index=subject_index)
    merger, _ = _parts(converted)
    own = torch.stack(
        [_matrix(converted, key) for key in converted.encoder.keys]
    )  # (subject, virtual, virtual)
    checks.in_range("subject_index", int(subject_index.min()), 0, len(own) - 1)
    checks.in_range("subject_index", int(subject_index.max()), 0, len(own) - 1)
    known = (positions >= 0).all(2)  # false for NaN too
    places = positions.masked_fill(~known[:, :, None], 0.0)
    shared = merger.through(own[subject_index], places, ~known, signal)
    return _of_length(converted, signal.shape[2]).eval()(shared)[OUTPUT].transpose(1, 2)


def _trunk(source: Checkpoint, dilation_period: int) -> tuple[str, dilated_conv.Config]:
    """Name of the measurement and settings of the dilated convolutions."""
    found = [m.groups() for key in source if (m := LAYER.match(key))]
    names = sorted({name for name, _, _ in found})
    if len(names) != 1:
        raise source.refused(f"has encoders of {names}; one measurement is read")
    layers, gates = (
        sorted({int(k) for _, kind, k in found if kind == wanted}) for wanted in ("sequence", "glus")
    )
    every = gates[0] + 1 if gates else 0
    if layers != list(range(len(layers))) or (gates and gates != layers[every - 1 :: every]):
        raise source.refused(f"has convolutions {layers} and gates {gates}, which have no regular order")
    width, _, kernel = source.shape(f"encoders.{names[0]}.sequence.0.0.weight", 3)
    context = source.shape(f"encoders.{names[0]}.glus.{gates[0]}.0.weight", 3)[2] // 2 if gates else 0
    return names[0], dilated_conv.Config(
        width=width,
        n_layers=len(layers),
        kernel=kernel,
        dilation_period=dilation_period,
        glu_every=every,
        glu_context=context,
        variant="published",
    )


def _frequencies(source: Checkpoint, n_features: int) -> int:
    n = math.isqrt(n_features // 2)
    if 2 * n * n != n_features:
        raise source.refused(f"has merger.heads of {n_features} features, which are not 2 n^2 waves")
    return n


def _moved(keys: KeyMap, modality: str, signals: list[SubjectSignal]) -> Reading:
    shared = rf"encoder\.shared\.spatial_merger_{modality}\."
    layers = r"encoder\.backbone\.layers\.(\d+)\."
    theirs = rf"encoders.{modality}."
    keys.rename({
        shared + "heads": "merger.heads",
        shared + r"linear\.bias": "initial_linear.0.bias",
        layers + r"conv\.(\w+)": theirs + r"sequence.\1.0.\2",
        layers + r"norm\.(\w+)": theirs + r"sequence.\1.1.\2",
        layers + r"gate\.0\.(\w+)": theirs + r"glus.\1.0.\2",
        rf"encoder\.backbone\.heads\.to_{OUTPUT}\.0\.(\w+)": r"final.0.\1",
        rf"encoder\.backbone\.heads\.to_{OUTPUT}\.2\.bias": "final.2.bias",
    })  # fmt: skip
    if f"encoder.shared.spatial_merger_{modality}.linear.weight" in keys.wanted:
        keys.move(f"encoder.shared.spatial_merger_{modality}.linear.weight", "initial_linear.0.weight",
                  make=_without_kernel, what="a kernel of one sample is a matrix")  # fmt: skip
    keys.move(f"encoder.backbone.heads.to_{OUTPUT}.2.weight", "final.2.weight", make=_turned,
              what="a transposed convolution of one sample is a convolution with its matrix turned")  # fmt: skip
    for i, signal in enumerate(signals):
        own = f"encoder.adapters.{signal.key}."
        keys.move(own + "matrix", "subject_layers.weights", make=partial(_of_subject, i),
                  what=f"matrix {i}, turned: theirs multiplies from the right")  # fmt: skip
        keys.fill(
            own + "positions", torch.tensor([[0.5, 0.5]]), "one sensor at the vertex, until `on_sensors`"
        )
        keys.fill(own + "known", torch.tensor([True]), "one sensor at the vertex, until `on_sensors`")
    n = len(signals)
    return keys.finish([
        f"{n} subjects: subject k + 1 is number k of the checkpoint's `subject_layers`.",
        "The checkpoint holds no sensors: each subject stands on one at the vertex until "
        "`braindec.convert.simpleconv.on_sensors` gives it those that measured; `predict` takes places with trials.",
        "Tokens are time samples: token t is sample t.",
        "The bias of each dilated convolution comes before a batch norm and gets no gradient. It is kept.",
    ])  # fmt: skip


def _without_kernel(weight: Tensor) -> Tensor:
    return weight.squeeze(-1)


def _turned(weight: Tensor) -> Tensor:
    return weight.transpose(0, 1).contiguous()


def _of_subject(index: int, weights: Tensor) -> Tensor:
    return weights[index].T.contiguous()


def _on_one_sensor(subject: int, modality: str, n_times: int) -> SubjectSignal:
    space = SensorSpace(("vertex",), np.array([[0.0, 0.0, VERTEX]]), (modality,))
    return SubjectSignal(subject, modality, (1, n_times), space)


def _parts(converted: Converted) -> tuple[Merger, DilatedConv]:
    shared: Mapping[str, object] = dict(converted.encoder.shared.items())
    merger = checks.of_type("shared part", next(iter(shared.values()), None), Merger)
    return merger, checks.of_type("backbone", converted.encoder.backbone, DilatedConv)


def _matrix(converted: Converted, key: str) -> Tensor:
    return checks.of_type("adapter", converted.encoder.adapter(key), SpatialMerger).matrix.detach()


def _of_length(converted: Converted, n_times: int) -> DilatedConv:
    """The backbone for trials of this length, with the same weights."""
    _, backbone = _parts(converted)
    other = copy.copy(backbone)
    other.outputs = {name: (n_times, n_dims) for name, (_, n_dims) in backbone.outputs.items()}
    return other
