"""Nothing that only Linux has is needed: macOS has some of these names less, Windows nearly all of them."""

from __future__ import annotations

import os
import subprocess
import sys

LESS = """
import mmap, os, signal, sys
for module, names in (
    (os, {posix}),
    (signal, ["SIGUSR1", "SIGKILL"]),
    (mmap, ["MADV_HUGEPAGE"]),
):
    for name in names:
        delattr(module, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
"""
ELSEWHERE = [
    name
    for name in (
        "posix_fadvise",
        "sched_getaffinity",
        "sysconf",
        "pread",
        "fork",
        "geteuid",
        "statvfs",
        "killpg",
    )
    if hasattr(os, name)
]

TRAIN = """
import numpy as np
from braindec import stopping, store
from braindec.data import NeuralDataset
from braindec.data.loader import MappedRows, buffer
from braindec.decoder import BrainDecoder
from braindec.quick import QuickDecoder
from braindec.types import Embeddings

assert "SIGTERM" in stopping.NAMES and "SIGUSR1" not in stopping.NAMES
rng = np.random.default_rng(0)
vectors = rng.standard_normal((60, 8)).astype(np.float32)
brain = (vectors @ rng.standard_normal((8, 30)) + rng.standard_normal((60, 30))).astype(np.float32)
with stopping.obeyed(), stopping.deferred(), store.writer("a.h5") as out:
    out.bulk("rows", brain.shape, np.float32).append(brain)
rows = MappedRows(store.Stored("a.h5").rows("rows"))[:]
assert np.array_equal(rows, brain) and buffer((1 << 20,)).shape == (1 << 20,)
about = {"betas": {"overlap": "modelled"}}
dataset = NeuralDataset.from_arrays(rows, np.arange(60), modality="fmri", about=about).hold_out("stimulus", 0.25)
embeddings = Embeddings.from_arrays(range(60), vectors, "mine")
fitted = QuickDecoder(nuisance=(), n_null=1, progress=False).fit(dataset, embeddings)
found = fitted.predict()
fitted.decoder.save_pretrained("decoder")
(trials,) = dataset.part("test").trials.values()
assert np.array_equal(BrainDecoder.from_pretrained("decoder").predict(trials).values, found.values)
print(np.corrcoef(found.values.ravel(), embeddings.of(found.ids).ravel())[0, 1])
"""


def test_a_decoder_is_trained_without_what_only_linux_has(tmp_path):
    script = LESS.format(posix=ELSEWHERE) + TRAIN
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.5
