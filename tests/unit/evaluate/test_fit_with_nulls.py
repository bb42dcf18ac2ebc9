"""A decoder that is fitted beside its nulls is the one that is fitted alone, and so are they."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder
from braindec.losses import mse
from braindec.train import Config


@dataclass(frozen=True)
class MiniRecipe:
    """The fields of a recipe that a fit needs."""

    adapter: Any = linear_adapter.Config(shared_dim=16)  # noqa: RUF009
    backbone: Any = linear.Config()  # noqa: RUF009
    loss: Any = mse.Config()  # noqa: RUF009
    preprocessing: Any = (Standardise(),)
    train: Config = Config(n_steps=2, batch_size=16, device="cpu")  # noqa: RUF009
    n_folds: int = 2
    calibrate: bool = False
    protocol: str = "heldout_stimuli"
    seed: int = 0


def test_what_is_fitted_side_by_side_predicts_as_what_is_fitted_alone(planted, tmp_path):
    part = planted.dataset.part("train")
    recipe = MiniRecipe()
    decoder, nulls = evaluate.fit_with_nulls(
        recipe, part, planted.embeddings, 2, tmp_path, n_jobs=2, progress=False
    )
    alone = BrainDecoder.build(recipe, part.info, planted.embeddings.info).fit(
        part, planted.embeddings, progress=False
    )
    wrong = evaluate.fit_nulls(recipe, part, planted.embeddings, 2, progress=False)
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    for a, b in zip([decoder, *nulls], [alone, *wrong], strict=True):
        np.testing.assert_allclose(a.predict(trials).values, b.predict(trials).values, atol=1e-5)
    assert set(decoder.held_out) == set(alone.held_out)
    assert any(tmp_path.iterdir())
