"""A decoder as a folder: strict JSON, safetensors, the measured space, a manifest of hashes, a card."""

from __future__ import annotations

import contextlib
import itertools
import platform
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import __version__, checks, config, hub, store
from braindec.data.damage import reading
from braindec.data.preprocessing import FittedPreprocessing
from braindec.decoder.bounded import Bounded
from braindec.decoder.calibration import Calibration
from braindec.decoder.new_subject import KnownWeights, Readout
from braindec.decoder.settings import settings_from_json, settings_to_json
from braindec.decoder.spread import Spread
from braindec.types import EmbeddingsInfo, SignalInfo

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

FORMAT = 1
CONFIG, WEIGHTS, SPACES, CARD = "config.json", hub.WEIGHTS, "preprocessing.h5", "README.md"


def write_weights(path: Path, module: nn.Module) -> None:
    """All parameters and buffers, atomically."""
    from safetensors.torch import save_file

    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
    with store.atomic_path(path) as temporary:
        # One entry alone: safetensors writes several in an order that changes from file to file.
        save_file(tensors, temporary, metadata={"format": "pt"})


def read_weights(path: Path, module: nn.Module) -> None:
    """Loads strictly; a difference in names or shapes is told in full and nothing is loaded."""
    from safetensors.torch import load_file

    with _readable(path):
        tensors = load_file(path)
    check_same_weights(path, tensors, module.state_dict())
    module.load_state_dict(tensors, strict=True)


def size_of_weights(path: Path) -> tuple[int, int]:
    """(bytes, number of tensors) of a file of weights, of which the head alone is read."""
    from safetensors import safe_open

    with _readable(path), safe_open(path, framework="pt") as file:
        return path.stat().st_size, len(file.keys())


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    checks.existing_file(path, "A saved decoder holds its weights there; copy the folder whole.")
    try:
        yield
    except SafetensorError as error:
        raise checks.DataFileError(
            path, f"is no readable safetensors file ({error})", "Copy it again."
        ) from error


def check_same_weights(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuses weights that are not exactly the model's, and says which."""
    lines = [f"missing: {k} {tuple(wanted[k].shape)}" for k in sorted(wanted.keys() - found.keys())]
    lines += [f"unexpected: {k} {tuple(found[k].shape)}" for k in sorted(found.keys() - wanted.keys())]
    for key in sorted(found.keys() & wanted.keys()):
        if found[key].shape != wanted[key].shape or found[key].dtype != wanted[key].dtype:
            lines.append(
                f"differs: {key} is {tuple(found[key].shape)} {found[key].dtype}, "
                f"the model has {tuple(wanted[key].shape)} {wanted[key].dtype}"
            )
    if lines:
        shown = "\n  ".join(lines[:12]) + (f"\n  and {len(lines) - 12} more" if len(lines) > 12 else "")
        raise checks.DataFileError(
            path, f"does not hold this model's weights:\n  {shown}\n", "Nothing was loaded."
        )


def versions() -> dict[str, str]:
    """What made a run: versions of braindec, torch and Python, and the machine's processor type."""
    return {
        "braindec": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
    }


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a saved decoder; another format version is refused."""
    data = store.read_json(folder / CONFIG, "A decoder is saved with decoder.save_pretrained(folder).")
    found = data.get("format") if isinstance(data, dict) else "none"
    if found != FORMAT:
        raise checks.DataFileError(
            folder / CONFIG, f"has format {found}, this version reads {FORMAT}", "Save the decoder again."
        )
    return data


def save(decoder: BrainDecoder, folder: Path, report: Any, licence: str | None = None) -> Path:
    """See `BrainDecoder.save_pretrained`."""
    hub.check_licence(licence)
    decoder.layers()  # refuses a decoder that is not fitted before anything is written
    write_weights(folder / WEIGHTS, decoder)
    with store.writer(folder / SPACES) as out:
        for key, fitted in decoder.preprocessing.items():
            for name, values in fitted.to_arrays().items():
                out.array(f"{key}/{name}", values)
    data = {
        "format": FORMAT,
        "settings": settings_to_json(decoder.settings),
        "signals": {key: fitted.config for key, fitted in decoder.preprocessing.items()},
        "outputs": config.to_json(decoder.outputs),
        "shared_map": list(decoder.shared_weight.shape),
        "calibrated": sorted(decoder.calibrations),
        "spreads": sorted(decoder.spreads),
        "populations": {modality: len(p.get_buffer("mean")) for modality, p in decoder.populations.items()},
        "readouts": {key: list(r.get_buffer("weight").shape) for key, r in decoder.readouts.items()},
        "training": decoder.provenance,
    }
    store.write_json(folder / CONFIG, data)
    (folder / hub.EARLIER_WEIGHTS).unlink(missing_ok=True)  # of a decoder that was saved here before
    hashes = {name: store.sha256_of(folder / name) for name in (CONFIG, WEIGHTS, SPACES)}
    card = hub.model_card(data, report, licence=licence, files=hashes)
    _keep_own_card(folder, card)
    with store.atomic_path(folder / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")
    hub.write_manifest(folder, (CONFIG, WEIGHTS, SPACES, CARD))
    return folder


def _keep_own_card(folder: Path, new: str) -> None:
    """Gives a README.md that is neither the card of a decoder saved here before nor the new one another name.

    The new one stands there without a manifest where an earlier save was killed before its last file.
    """
    card, manifest = folder / CARD, folder / hub.MANIFEST
    if not card.is_file() or card.read_bytes() == new.encode():
        return
    told = store.read_json(manifest).get("files", {}) if manifest.is_file() else {}
    if told.get(CARD, {}).get("sha256") == store.sha256_of(card):
        return
    number = next(n for n in itertools.count(1) if not (folder / f"README.{n}.md").exists())
    kept = card.rename(folder / f"README.{number}.md")
    warnings.warn(
        f"{card} was there and is no card that braindec left; it is kept as {kept.name}. A saved decoder's card takes "
        "that name: save into a folder of its own.",
        stacklevel=4,
    )


def push(decoder: BrainDecoder, repository: str, report: Any, licence: str | None, **said: Any) -> str:
    """See `BrainDecoder.push_to_hub`."""
    with tempfile.TemporaryDirectory() as place:
        return hub.push(save(decoder, Path(place), report, licence), repository, **said)


def load(
    kind: type[BrainDecoder], name: str, revision: str | None, access: hub.Access | None = None
) -> BrainDecoder:
    """See `BrainDecoder.from_pretrained`."""
    folder = hub.local_or_download(name, revision, access or hub.Access())
    hub.verify(folder)
    weights = hub.weights_of(folder)
    with reading(folder / CONFIG, way_out="Save the decoder again, or copy its folder whole."):
        data = read_config(folder)
        with Bounded(folder / CONFIG, *size_of_weights(weights)):
            decoder = _described(kind, folder, data)
        read_weights(weights, decoder)
        decoder.provenance = data["training"]
        return decoder.eval()


def _described(kind: type[BrainDecoder], folder: Path, data: Mapping[str, Any]) -> BrainDecoder:
    """The decoder that a config describes, with weights as they are drawn."""
    stored = store.Stored(folder / SPACES)
    fitted = {k: FittedPreprocessing.from_arrays(c, stored.group(k)) for k, c in data["signals"].items()}
    outputs = {k: _info(v) for k, v in data["outputs"].items()}
    info = SignalInfo({key: f.source for key, f in fitted.items()})
    decoder = kind(settings_from_json(data["settings"]), info, outputs)
    decoder.preprocessing = fitted
    decoder.populations = nn.ModuleDict({k: KnownWeights(n) for k, n in data.get("populations", {}).items()})
    decoder.readouts = nn.ModuleDict({k: Readout(*shape) for k, shape in data.get("readouts", {}).items()})
    decoder.encoder = decoder.build_encoder()
    rows, columns = data["shared_map"]
    decoder.shared_weight, decoder.shared_bias = torch.zeros(rows, columns), torch.zeros(rows)
    for key in data["calibrated"]:
        decoder.calibrations[key] = Calibration(int(np.prod(decoder.outputs[decoder.main].shape)))
    decoder.spreads = nn.ModuleDict({key: Spread() for key in data.get("spreads", ())})
    return decoder


def _info(data: Mapping[str, Any]) -> EmbeddingsInfo:
    n_tokens, n_dims = data["shape"]
    return EmbeddingsInfo(data["space"], (n_tokens, n_dims), data["identity"])
