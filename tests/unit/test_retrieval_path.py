"""Retrieval needs no diffusion package, and the decoder room pulls in no format, image or plotting library."""

from __future__ import annotations

import subprocess
import sys

FOREIGN = ("nibabel", "nilearn", "mne", "diffusers", "open_clip", "matplotlib")

RETRIEVE = """
import sys
from dataclasses import replace
from braindec.adapters import linear as adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import clip
from braindec.priors import diffusion
from braindec.train import Config

sys.path.append({repository!r})
from tests.conftest import plant

planted = plant(n_train=60, n_test=10, n_dims=4)
train = Config(n_steps=4, batch_size=32, validate_every=2, device="cpu")
settings = Settings(adapter.Config(shared_dim=4), linear.Config(), clip.Config(),
                    prior=diffusion.Config(width=16, depth=1, heads=2), preprocessing=(Standardise(),),
                    train=train, prior_train=train)
decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
part = planted.dataset.part("train")
decoder.fit(part, planted.embeddings, prior=False, progress=False)
trials = planted.dataset.part("test").trials["sub-01_fmri"]
test = planted.dataset.part("test").stimulus_ids
gallery = replace(planted.embeddings, ids=test, values=planted.embeddings.of(test))
prediction = decoder.predict(trials, repeats="before")
found, _ = decoder.retrieve(trials, gallery, 1)
print(len(prediction.ids), len(found), "diffusers" in sys.modules)
decoder.fit(part, planted.embeddings, progress=False)
decoder.imagine(decoder.predict(trials, repeats="before"))
print("diffusers" in sys.modules)
"""


def fresh(code: str) -> list[str]:
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_fitting_predicting_and_retrieving_import_no_diffusion_package(repository):
    """The prior alone needs the package: its samples are made as wide as they err (so the test would see an import)."""
    assert fresh(RETRIEVE.format(repository=str(repository))) == ["10", "10", "False", "True"]


def test_importing_the_decoder_imports_no_format_image_or_plotting_library():
    code = f"import sys, braindec.decoder; print(*[name for name in {FOREIGN!r} if name in sys.modules])"
    assert fresh(code) == []
