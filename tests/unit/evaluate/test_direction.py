"""Looking for the response to an image uses the system's own similarity for that, image retrieval the other one."""

from __future__ import annotations

import numpy as np
import torch

from braindec import evaluate
from braindec.decoder import Prediction


class TwoFaced:
    """Compares perfectly where the image is looked for, and the wrong way round where the response is."""

    def predict(self, trials, *, repeats):
        ids, first = np.unique(trials.table["stimulus_id"], return_index=True)
        values = np.zeros((len(ids), 1, 16), np.float32)
        return Prediction(tuple(ids.tolist()), values, trials.table.take(first), np.ones(len(ids), int))

    def similarity(self, prediction, candidates, direction="image"):
        same = torch.eye(len(prediction.ids))
        return same if direction == "image" else -same


def test_each_retrieval_metric_is_measured_with_its_own_direction(planted):
    protocol = evaluate.protocol_named("heldout_stimuli")
    decoded = evaluate.cross_decode(
        lambda *_: TwoFaced(), planted.dataset, planted.embeddings, [planted.dataset.split], protocol, 0
    )["sub-01_fmri"]
    found = evaluate.measure(decoded, protocol, None, np.random.default_rng(0))
    assert found["image_retrieval_top1"].value == 1.0
    assert found["brain_retrieval_top1"].value == 0.0
