"""Our own parsers as functions of bytes: whatever comes, they return or refuse with one of braindec's own errors."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from braindec import checks, config, hub, registry, seal, store
from braindec.adapters import linear as adapters_linear
from braindec.backbones import linear
from braindec.data import (
    archives,
    card,
    fmri,
    mat5_walk,
    plain_arrays,
    safe_npy,
    safe_pt,
    tars,
    textgrid,
    xml_inside,
)
from braindec.data.damage import reading
from braindec.decoder import Settings
from braindec.decoder.settings import settings_from_json, settings_to_json
from braindec.losses import mse


@dataclass(frozen=True)
class Parser:
    """A file's name, what reads it, and good content to start from."""

    name: str
    read: Callable[[Path], object]
    seeds: tuple[bytes, ...]


def settings(path: Path) -> object:
    """config.json of a saved decoder."""
    data = store.read_json(path)
    with reading(path):  # as `BrainDecoder.from_pretrained` does
        return settings_from_json(data)


def overrides(path: Path) -> object:
    """What --set gives, a line each."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return config.override(SETTINGS, text.splitlines()[:4], registry.load)


def manifest(path: Path) -> object:
    return hub.verify(path.parent)


def unpacked(path: Path) -> object:
    limits = archives.Limits(n_files=50, n_bytes=1 << 20)
    return archives.unpack(path, path.parent / "out", limits)


def _saved(write: Callable[[BytesIO], object]) -> bytes:
    out = BytesIO()
    write(out)
    return out.getvalue()


def _tar(out: BytesIO) -> None:
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("a.txt", "b/c.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            file.addfile(info, BytesIO(b"abc"))


def _zip(out: BytesIO) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", "abc" * 9)


def _mat() -> bytes:
    from scipy.io import savemat

    held = {
        "a": np.arange(6.0).reshape(2, 3),
        "s": {"x": "text", "y": [1, 2]},
        "c": np.array(["u", 3.0], object),
    }
    return _saved(lambda out: savemat(out, held)) + b""


SETTINGS = Settings(adapters_linear.Config(), linear.Config(), mse.Config())
TEXTGRID = b"""File type = "ooTextFile"
Object class = "TextGrid"

0
2
<exists>
1
"IntervalTier"
"word"
0
2
1
0
2
"a"
"""
CARD = Path(card.__file__).parents[2] / "datasets" / "haxby2001" / "README.md"
PARSERS = {
    "settings": Parser("config.json", settings, (json.dumps(settings_to_json(SETTINGS)).encode(),)),
    "overrides": Parser(
        "sets.txt", overrides, (b"train.n_steps=3", b"backbone=mlp\nseed=1", b"adapter.shared_dim=[1]")
    ),
    "json": Parser("report.json", store.read_json, (b'{"a": [1, 2.5, null, "x"]}',)),
    "manifest": Parser("manifest.json", manifest, (b'{"format": 1, "files": {"a": {"sha256": "00", "bytes": 1}}}',)),
    "npy": Parser(
        "a.npy", safe_npy.load,
        (_saved(lambda out: np.save(out, np.zeros((2, 3)))), pickle.dumps({"a": np.zeros(3), "b": ["x"]})),
    ),
    "npz": Parser("a.npz", plain_arrays.read_npz, (_saved(lambda out: np.savez(out, np.zeros(3))),)),
    "pt": Parser(
        "a.pt", safe_pt.load,
        (_saved(lambda out: torch.save({"a": torch.zeros(3)}, out)),
         _saved(lambda out: torch.save({"a": torch.zeros(3)}, out, _use_new_zipfile_serialization=False))),
    ),
    "mat5": Parser("a.mat", mat5_walk.check, (_mat(),)),
    "tar": Parser("a.tar", lambda p: [m.name for _, m in tars.members(p)], (_saved(_tar),)),
    "unpacked tar": Parser("a.tar", unpacked, (_saved(_tar),)),
    "unpacked zip": Parser("a.zip", unpacked, (_saved(_zip),)),
    "textgrid": Parser("a.TextGrid", textgrid.read, (TEXTGRID,)),
    "seal": Parser("sub-01_fmri.h5", seal.check, (b"braindec" + bytes(600),)),
    "events": Parser("events.tsv", fmri.read_events, (b"onset\tduration\ttrial_type\n0.5\t1\tcat\n",)),
    "card": Parser("haxby2001/README.md", card.read_card, (CARD.read_bytes(),)),
    "cifti xml": Parser("a.dtseries.nii", xml_inside.check_cifti, (b"\x1c\x02\0\0" + bytes(700),)),
}  # fmt: skip


def judged(parser: Parser, content: bytes, folder: Path) -> str:
    """What came of reading this content: "" when it was read or refused as it should be."""
    path = folder / parser.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        parser.read(path)
    except (checks.BraindecError, FileNotFoundError):
        return ""
    except Exception as error:  # noqa: BLE001  # whatever else is raised is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        out = folder / "out"
        if out.is_dir():
            import shutil

            shutil.rmtree(out)
    return ""
