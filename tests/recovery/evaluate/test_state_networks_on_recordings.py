"""Functional and graph networks on real EEG: faces and houses of runs never seen, and nothing of dealt labels."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import recipe
from braindec.adapters import gain_bias
from braindec.backbones import functional, sensor_graph
from braindec.data import NeuralDataset, catalogue, splits
from braindec.data.preprocessing import AverageTime, ClipMad, Crop, Standardise
from braindec.evaluate import Exam, decoder_fitter, null_values, protocol_named
from braindec.evaluate.exam import in_memory
from braindec.evaluate.measures import measure
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.targets._embedding import embed
from braindec.train import Config as Train

FOLDS = slice(0, 2)  # of six, to be quick
TRAIN = Train(
    n_steps=40, batch_size=256, lr=1e-2, weight_decay=0.1, validate_every=40, repeats="single", device="cpu",
    ridge_start=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(real_data, tmp_path_factory) -> NeuralDataset:
    folder = tmp_path_factory.mktemp("faces")
    catalogue.load("faces_houses_eeg")["prepare"](real_data, folder)
    return in_memory(NeuralDataset.read(folder))


def judged(faces, backbone, n_null=0):
    """Area under the ROC with its interval, and areas of refits on labels dealt anew within runs."""
    chosen = Recipe(
        data=NeuralData("faces_houses_eeg"), target=category_prototypes.Config(classes=("face", "house")),
        label_column="category", preprocessing=(ClipMad(3.0), Standardise(), Crop(0.0, 0.5), AverageTime(2)),
        adapter=gain_bias.Config(), backbone=backbone, loss=recipe.load("faces_houses_eeg").recipe.loss, train=TRAIN,
        n_folds=0, calibrate=False, protocol="leave_one_run_out_auc",
    )  # fmt: skip
    embeddings = embed(
        category_prototypes.build(chosen.target), faces.stimuli, content="labels", label_column="category"
    )
    folds = splits.leave_one_out(faces, "run")[FOLDS]
    exam = Exam(faces, embeddings, folds, protocol_named(chosen.protocol), 0, "category", progress=False)
    decoded = exam.decode(decoder_fitter(chosen))
    ((key, one),) = decoded.items()
    found = measure(one, exam.protocol, exam.labels(decoded)[key], np.random.default_rng(0))["roc_auc"]
    null = null_values("network", decoder_fitter(chosen), exam, n_null)
    return found, null[key]["roc_auc"] if n_null else np.empty(0)


@pytest.mark.slow
def test_both_networks_tell_faces_from_houses_in_runs_that_they_never_saw(faces):
    (trials,) = faces.trials.values()
    graph = sensor_graph.Config(features="time", width=4, n_read=4, dropout=0.5)
    for backbone in (
        functional.Config(readout="dense", dropout=0.5), sensor_graph.placed(graph, trials.space),
    ):  # fmt: skip
        found, null = judged(faces, backbone, n_null=1)
        assert found.n == 392
        assert found.interval[0] > 0.55
        assert abs(null[0] - 0.5) < 0.1  # 3 standard errors
        assert found.value > null[0] + 0.05
