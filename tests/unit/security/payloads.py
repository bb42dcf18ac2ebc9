"""Files that would run code, read other files, write elsewhere or fill the memory, each made from nothing.

A payload is `make(folder, canary) -> file`; `canary` is what must never come to be.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import torch


class Evil:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


# ---------------------------------------------------------------------------------------------------- pickles


def bare_pickle(folder, canary):
    path = folder / "arrays.npy"
    path.write_bytes(pickle.dumps({"eeg": Evil(canary)}))
    return path


def object_npy(folder, canary):
    path = folder / "arrays.npy"
    np.save(path, np.array([Evil(canary)], dtype=object), allow_pickle=True)
    return path


def nested_pickle(folder, canary):
    path = folder / "arrays.npy"
    inner = np.array([{"a": [np.array([Evil(canary)], dtype=object)]}], dtype=object)
    np.save(path, inner, allow_pickle=True)
    return path


def lookalike_pickle(folder, canary):
    """os with a Cyrillic o, then the true one behind it."""
    path = folder / "arrays.npy"
    path.write_bytes(
        b"\x80\x04\x8c\x03" + "оs".encode() + b"\x8c\x05mkdir\x93" + pickle.dumps(Evil(canary))[2:]
    )
    return path


def gadget_pickle(folder, canary):
    """numpy's own `scalar`, which unpickles the bytes that it is given."""
    path = folder / "arrays.npy"
    inner = pickle.dumps(Evil(canary), protocol=2)
    parts = [
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\nI0\nI1\ntR",
        b"S",
        repr(inner)[1:].encode(),
        b"\ntR.",
    ]
    path.write_bytes(b"".join(parts))
    return path


def object_npz(folder, canary):
    path = folder / "arrays.npz"
    np.savez(path, x=np.array([Evil(canary)], dtype=object))
    return path


def torch_zip(folder, canary):
    path = folder / "weights.pth"
    torch.save({"model_state_dict": {"a": Evil(canary)}}, path)
    return path


def torch_old(folder, canary):
    path = folder / "weights.pt"
    torch.save({"a": torch.zeros(3), "b": Evil(canary)}, path, _use_new_zipfile_serialization=False)
    return path


def torch_script(folder, canary):
    path = folder / "weights.ckpt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/constants.pkl", pickle.dumps(Evil(canary), protocol=2))
        file.writestr("m/data.pkl", pickle.dumps(Evil(canary), protocol=2))
        file.writestr("m/code/__torch__.py", f"import os\nos.mkdir({str(canary)!r})\n")
        file.writestr("m/version", "6")
    return path


def joblib_pickle(folder, canary):
    path = folder / "decoder.joblib"
    path.write_bytes(zlib.compress(pickle.dumps(Evil(canary))))
    return path


def plain_bin(folder, canary):
    path = folder / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({"weight": Evil(canary)}, protocol=2))
    return path


def pickle_as_safetensors(folder, canary):
    path = folder / "model.safetensors"
    path.write_bytes(pickle.dumps(Evil(canary)))
    return path


# ---------------------------------------------------------------------------------------------------- archives


def _tar(path: Path, *members: tarfile.TarInfo | str) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = 3
            tar.addfile(info, io.BytesIO(b"abc") if info.isreg() else None)
    return path


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar_upwards(folder, canary):
    return _tar(folder / "a.tar", "good.txt", f"../{canary.name}")


def tar_sibling(folder, canary):
    """Begins with the folder's own name, as a comparison of text takes it."""
    return _tar(folder / "a.tar", f"../out-{canary.name}")


def tar_absolute(folder, canary):
    return _tar(folder / "a.tar", str(canary))


def tar_backslash(folder, canary):
    return _tar(folder / "a.tar", f"..\\{canary.name}")


def tar_symlink(folder, canary):
    return _tar(folder / "a.tar", _special("x", tarfile.SYMTYPE, str(canary.parent)), f"x/{canary.name}")


def tar_hardlink(folder, canary):
    return _tar(folder / "a.tar", _special("x", tarfile.LNKTYPE, "/etc/hostname"))


def tar_device(folder, canary):
    return _tar(folder / "a.tar", _special("x", tarfile.CHRTYPE))


def tar_pipe(folder, canary):
    return _tar(folder / "a.tar", _special("x", tarfile.FIFOTYPE))


def tar_sparse(folder, canary):
    """A hole of a terabyte."""
    info = tarfile.TarInfo("hole.bin")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole.bin",
                        "GNU.sparse.realsize": str(1 << 40)}  # fmt: skip
    content = b"1\n1099511627775\n1\n".ljust(512, b"\0") + b"x"
    info.size = len(content)
    with tarfile.open(folder / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    return folder / "a.tar"


def tar_case(folder, canary):
    return _tar(folder / "a.tar", "data/Events.tsv", "data/events.TSV")


def tar_accents(folder, canary):
    return _tar(folder / "a.tar", "caf\u00e9.txt", "cafe\u0301.txt")


def tar_twice(folder, canary):
    return _tar(folder / "a.tar", "events.tsv", "events.tsv")


def tar_below_a_file(folder, canary):
    return _tar(folder / "a.tar", "a", "a/b")


def tar_long_header(folder, canary):
    """A name of a hundred megabytes, of which only the beginning is there."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 100_000_000
    (folder / "a.tar").write_bytes(info.tobuf() + bytes(4096))
    return folder / "a.tar"


def tar_gz_bomb(folder, canary):
    info = tarfile.TarInfo("zeros.bin")
    info.size = 300_000_000
    with gzip.open(folder / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(110):
            file.write(bytes(1 << 20))
    return folder / "a.tar.gz"


def zip_upwards(folder, canary):
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr(f"../{canary.name}", "x")
    return folder / "a.zip"


def zip_symlink(folder, canary):
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        info = zipfile.ZipInfo("x")
        info.external_attr = 0o120777 << 16
        file.writestr(info, str(canary.parent))
        file.writestr(f"x/{canary.name}", "x")
    return folder / "a.zip"


def zip_bomb(folder, canary):
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("zeros.bin", bytes(110_000_000))
    return folder / "a.zip"


def zip_encrypted(folder, canary):
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("a.txt", "x")
    content = bytearray((folder / "a.zip").read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (folder / "a.zip").write_bytes(content)
    return folder / "a.zip"


# ------------------------------------------------------------------------------------------------------- HDF5


def _hdf5(folder: Path, fill) -> Path:
    with h5py.File(folder / "secret.h5", "w") as file:
        file["x"] = np.arange(4.0)
    with h5py.File(folder / "sub-01_fmri.h5", "w") as file:
        fill(file, folder)
    return folder / "sub-01_fmri.h5"


def hdf5_external_link(folder, canary):
    return _hdf5(folder, lambda f, d: f.__setitem__("a/x", h5py.ExternalLink(str(d / "secret.h5"), "/x")))


def hdf5_external_storage(folder, canary):
    outside = [("/etc/hostname", 0, 4)]
    return _hdf5(folder, lambda f, _: f.create_dataset("x", (4,), np.uint8, external=outside))


def hdf5_view(folder, canary):
    def fill(file, where):
        view = h5py.VirtualLayout((4,), "f8")
        view[:] = h5py.VirtualSource(str(where / "secret.h5"), "x", (4,))
        file.create_virtual_dataset("x", view)

    return _hdf5(folder, fill)


def hdf5_filter(folder, canary):
    def fill(file, _):
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((4,))
        made.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, made)

    return _hdf5(folder, fill)


# ---------------------------------------------------------------------------------------- XML, pictures, tables

GII = """<?xml version="1.0" encoding="UTF-8"?>{doctype}
<GIFTI Version="1.0" NumberOfDataArrays="1"><MetaData/><LabelTable/>
<DataArray Intent="NIFTI_INTENT_ESTIMATE" DataType="NIFTI_TYPE_FLOAT32" ArrayIndexingOrder="RowMajorOrder"
 Dimensionality="1" Dim0="2" Encoding="{encoding}" Endian="LittleEndian" {more}><MetaData/><Data>{data}</Data>
</DataArray></GIFTI>"""
ENTITIES = '<!DOCTYPE GIFTI [<!ENTITY a "1 "><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/hostname">]>'


def gifti_entities(folder, canary):
    text = GII.format(doctype=ENTITIES, encoding="ASCII", more="", data="&b;")
    (folder / "lh.arrays.func.gii").write_text(text)
    return folder / "lh.arrays.func.gii"


def gifti_hidden_entities(folder, canary):
    text = GII.replace("UTF-8", "UTF-16").format(doctype=ENTITIES, encoding="ASCII", more="", data="&b;")
    (folder / "lh.arrays.func.gii").write_bytes(text.encode("utf-16"))
    return folder / "lh.arrays.func.gii"


def gifti_elsewhere(folder, canary):
    more = 'ExternalFileName="/etc/hostname" ExternalFileOffset="0"'
    text = GII.format(doctype="", encoding="ExternalFileBinary", more=more, data="")
    (folder / "lh.arrays.func.gii").write_text(text)
    return folder / "lh.arrays.func.gii"


def cifti_entities(folder, canary):
    import nibabel

    axes = (
        nibabel.cifti2.SeriesAxis(0, 1.0, 2),
        nibabel.cifti2.BrainModelAxis.from_mask([True, False], "cortex_left"),
    )
    path = folder / "a.dtseries.nii"
    nibabel.Cifti2Image(np.zeros((2, 1), np.float32), axes).to_filename(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"<CIFTI")
    mark = b'<!DOCTYPE a [<!ENTITY a "b">]>'
    content[at : at + len(mark)] = mark  # the size stays what it was
    path.write_bytes(content)
    return path


def picture_bomb(folder, canary):
    """A PNG of 30,000 x 30,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return folder / "a.png"


def postscript_picture(folder, canary):
    script = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%mkdir {canary}) (w) file closefile\nshowpage\n"
    (folder / "a.png").write_text(script)
    return folder / "a.png"


def matlab_opaque(folder, canary):
    """A MATLAB file of version 5 with an object of a Java class."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    names = b"".join(element(1, text) for text in (b"evil", b"java", b"java.io.File"))
    inner = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"")
    matrix = element(6, struct.pack("<II", 17, 0)) + names + element(14, inner + element(2, b"\1"))
    head = b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack("<H", 0x0100) + b"IM"
    (folder / "a.mat").write_bytes(head + element(14, matrix))
    return folder / "a.mat"


def yaml_object(folder, canary):
    return _card(folder, f"name: !!python/object/apply:os.mkdir [{str(canary)!r}]")


def yaml_bomb(folder, canary):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    return _card(folder, "\n".join([*lines, "name: *a29"]))


def _card(folder: Path, front: str) -> Path:
    (folder / "README.md").write_text(f"---\n{front}\n---\n\ntext\n")
    return folder / "README.md"


def deep_json(folder, canary):
    (folder / "config.json").write_text("[" * 200_000)
    return folder / "config.json"


def long_number(folder, canary):
    (folder / "config.json").write_text(json.dumps({"a": 1})[:-1] + ', "b": ' + "9" * 100_000 + "}")
    return folder / "config.json"
