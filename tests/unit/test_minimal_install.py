"""braindec works on a machine that has torch, h5py and scikit-learn but none of the format and image libraries."""

from __future__ import annotations

import subprocess
import sys

ABSENT = ("nibabel", "nilearn", "mne", "diffusers", "open_clip", "jsonargparse", "pooch")

# First on the meta path, it answers for the packages as if they were not installed.
BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def without_packages(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in which `ABSENT` cannot be imported runs the code."""
    command = [sys.executable, "-c", BLOCK + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_the_block_really_hides_the_packages():
    code = "\n".join(
        f"try:\n    import {name}\nexcept ModuleNotFoundError:\n    pass\nelse:\n    sys.exit({name!r})"
        for name in ABSENT
    )
    result = without_packages(code)
    assert result.returncode == 0, result.stderr


def test_braindec_and_its_nouns_import():
    result = without_packages(
        "import braindec, braindec.types, braindec.store, braindec.config, braindec.registry"
    )
    assert result.returncode == 0, result.stderr


TRAINING = """
import numpy as np
from braindec import BrainDecoder, NeuralDataset
from braindec.adapters import linear as adapter
from braindec.backbones import mlp
from braindec.data import layout
from braindec.data.preprocessing import Standardise
from braindec.decoder import Settings
from braindec.losses import clip
from braindec.train import Config
from braindec.types import Embeddings

folder = sys.argv[1]
dataset = NeuralDataset.read(folder)
values = np.load(folder + "/embeddings.npy")
embeddings = Embeddings(dataset.stimuli.ids, values, "planted", {}, "0" * 64)
settings = Settings(adapter.Config(shared_dim=24), mlp.Config(width=32, n_blocks=1), clip.Config(),
                    preprocessing=(Standardise(),), train=Config(n_steps=20, batch_size=32, device="cpu"))
decoder = BrainDecoder.build(settings, dataset.info, embeddings.info)
decoder.fit(dataset.part("train"), embeddings, progress=False)
trials = dataset.part("test").trials["sub-01_fmri"]
test = dataset.part("test").stimulus_ids
gallery = Embeddings(test, embeddings.of(test), "planted", {}, "0" * 64)
found, _ = decoder.retrieve(trials, gallery, 1, repeats="before")
ids = decoder.predict(trials, repeats="before").ids
print("top1", np.mean([row[0] == i for row, i in zip(found, ids)]))
"""


def test_a_decoder_trains_on_a_prepared_dataset_with_cached_embeddings(planted, tmp_path):
    """On a machine that only computes: the data were prepared and embedded on another one."""
    import numpy as np

    from braindec.data import layout

    files = [layout.write_trials(tmp_path, t) for t in planted.dataset.trials.values()]
    ids = planted.dataset.stimuli.ids
    layout.write_stimuli(tmp_path, ids, kind="none", table=planted.dataset.stimuli.table)
    layout.write_manifest(
        tmp_path, name="planted", licence="CC0", source="made here", splits={"default": planted.dataset.split},
        recordings=files,
    )  # fmt: skip
    np.save(tmp_path / "embeddings.npy", planted.embeddings.values)
    command = [sys.executable, "-c", BLOCK + TRAINING, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split("top1")[1]) > 0.5  # chance 1/40
