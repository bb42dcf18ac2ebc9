"""A decoder meets trials that it never saw: on whatever device it is."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.evaluate import saved
from braindec.losses import mse


class Elsewhere(torch.Tensor):
    """A tensor that numpy cannot look into, as those of an accelerator."""

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert device type tensor to numpy.")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_a_decoder_on_an_accelerator_is_scored_as_on_the_processor(planted):
    settings = Settings(
        linear_adapter.Config(shared_dim=8), linear.Config(), mse.Config(), preprocessing=(Standardise(),),
        fit="closed_form", n_folds=2, calibrate=False,
    )  # fmt: skip
    part, test = planted.dataset.part("train"), planted.dataset.part("test")
    decoder = BrainDecoder.build(settings, part.info, planted.embeddings.info)
    decoder.fit(part, planted.embeddings, progress=False)
    recipe = SimpleNamespace(protocol="heldout_stimuli", seed=0)
    here, _ = saved.unseen(decoder, recipe, test, planted.embeddings)
    scaler = decoder.scaler(decoder.main)
    scaler.mean = scaler.mean.as_subclass(Elsewhere)
    there, _ = saved.unseen(decoder, recipe, test, planted.embeddings)
    assert [s.value for s in there] == [s.value for s in here] and max(s.value for s in here) > 0.3
