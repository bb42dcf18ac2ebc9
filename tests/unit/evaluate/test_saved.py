"""A decoder meets trials that it never saw: on whatever device it is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.evaluate import saved, whole
from braindec.losses import mse
from braindec.types import Embeddings

SETTINGS = Settings(
    linear_adapter.Config(shared_dim=8), linear.Config(), mse.Config(), preprocessing=(Standardise(),),
    fit="closed_form", n_folds=2, calibrate=False,
)  # fmt: skip
RECIPE = SimpleNamespace(protocol="heldout_stimuli", seed=0)


class Elsewhere(torch.Tensor):
    """A tensor that numpy cannot look into, as those of an accelerator."""

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert device type tensor to numpy.")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_a_decoder_on_an_accelerator_is_scored_as_on_the_processor(planted):
    part, test = planted.dataset.part("train"), planted.dataset.part("test")
    decoder = BrainDecoder.build(SETTINGS, part.info, planted.embeddings.info)
    decoder.fit(part, planted.embeddings, progress=False)
    here, _ = saved.unseen(decoder, RECIPE, test, planted.embeddings)
    scaler = decoder.scaler(decoder.main)
    scaler.mean = scaler.mean.as_subclass(Elsewhere)
    there, _ = saved.unseen(decoder, RECIPE, test, planted.embeddings)
    assert [s.value for s in there] == [s.value for s in here] and max(s.value for s in here) > 0.3


@pytest.mark.parametrize("change", ["another space", "another shape"])
def test_embeddings_that_the_decoder_was_not_fitted_on_judge_nothing(planted, change):
    part, test, told = planted.dataset.part("train"), planted.dataset.part("test"), planted.embeddings
    decoder = BrainDecoder.build(SETTINGS, part.info, told.info)
    decoder.fit(part, told, progress=False)
    values = np.asarray(told.values[:])
    if change == "another space":
        given = Embeddings.from_arrays(told.ids, values, "other")
    else:
        given = Embeddings.from_arrays(told.ids, np.concatenate([values, values], axis=2), told.space)
    with pytest.raises(checks.SpaceMismatchError, match=r"embeddings .*expected.* fitted on"):
        saved.unseen(decoder, RECIPE, test, given)
    with pytest.raises(checks.SpaceMismatchError, match=r"embeddings .*expected.* fitted on"):
        whole.held_out(decoder, RECIPE, planted.dataset, given)
