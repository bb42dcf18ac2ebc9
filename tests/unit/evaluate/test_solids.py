"""Objects judged: whoever decodes the latents draws as well as their own latents do, and shuffled ones do not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from braindec.data import NeuralDataset, catalogue
from braindec.decoder.prediction import Prediction
from braindec.evaluate import solid_panels, solids
from braindec.generators._solids import Config

HOW = solids.Settings(side=12, n_points=40, angles=(30.0,), view_side=16)
SMALL = Config(n_latents=4, n_components=12, width=16, n_steps=30)
KEY = "sub-01_fmri"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("solids")
    functions = catalogue.load("fmri_3d")
    told = {"part": "objaverse", "solids": True, "n_pixels": 8, "n_objects": 18, "n_others": 12, "side": 12}
    functions["synthetic"](base / "raw", **told)
    functions["prepare"](base / "raw", base / "out")
    return base


@pytest.fixture(scope="module")
def dataset(folder):
    return NeuralDataset.read(folder / "out")


@pytest.fixture(scope="module")
def objects(folder, dataset):
    return solids.with_solids(dataset, "../raw/solids", "../raw/other_solids", folder / "out", HOW, SMALL)


class Told:
    """A decoder that is told the latents of these objects instead of looking at responses."""

    def __init__(self, objects, order):
        self.objects, self.order = objects, order

    def predict(self, trials, *, repeats):
        ids = tuple(trials.table["stimulus_id"].tolist())
        values = self.objects.generator.encode(self.objects.of(ids))[self.order(len(ids))][:, None]
        return Prediction(ids, values, trials.table, np.ones(len(ids), int), KEY)

    def image_embedding(self, prediction, *, seed):
        return prediction.values

    def imagine(self, prediction, *, seed, n_samples):
        return prediction.values[None]


@pytest.fixture(scope="module")
def found(objects, dataset):
    recipe = SimpleNamespace(protocol="heldout_stimuli_folds", seed=0)
    right, wrong = Told(objects, np.arange), Told(objects, lambda n: np.roll(np.arange(n), 1))
    return solids.shaped(right, [wrong], recipe, dataset, objects, HOW)


def test_the_generator_learns_training_objects_and_others_but_no_test_object(objects, dataset, folder):
    assert len(dataset.part("test").stimulus_ids) == 6
    assert 8 <= objects.n_others <= 12  # at 12 voxels a side, some are equal to presented ones
    assert int(objects.generator.n_objects) == 12 + objects.n_others
    grids = np.stack([np.load(p) for p in sorted((folder / "raw" / "solids").rglob("*.npy"))])
    for i, grid in enumerate(grids):  # the same objects under other names
        (folder / "raw" / "same").mkdir(exist_ok=True)
        np.save(folder / "raw" / "same" / f"new{i}.npy", grid)
    small = Config(n_latents=2, n_components=6, width=8, n_steps=2)
    again = solids.with_solids(dataset, "../raw/solids", "../raw/same", folder / "out", HOW, small)
    assert again.n_others == 0 and int(again.generator.n_objects) == 12


def test_whoever_knows_the_latents_scores_as_the_objects_own_latents(found):
    of = {(s.system, s.name): s for s in found.scores}
    for metric in solids.METRICS:
        assert of["braindec", metric].value == pytest.approx(of["oracle", metric].value, abs=0.03), metric
        better = 1 if of["braindec", metric].direction == "higher" else -1
        assert better * of["braindec", metric].value > better * of["shuffled", metric].value, metric
        assert of["braindec", metric].null == pytest.approx(of["shuffled", metric].value, abs=1e-9)
        assert of["braindec", metric].n == 6


def test_a_mean_object_tells_no_two_objects_apart(found):
    of = {(s.system, s.name): s for s in found.scores}
    assert of["mean", "view_two_way"].value == 0.5
    assert of["mean", "view_ten_way"].value == pytest.approx(1 / 6)


def test_the_mean_object_has_the_mean_volume(objects):
    mean = solids.mean_object(objects.fields)
    assert (objects.fields.mean(0) > 0).mean() < (mean > 0).mean()
    assert (mean > 0).mean() == pytest.approx((objects.fields > 0).mean(), abs=2 / 12**3)


def test_differences_are_those_of_the_scores(found):
    of = {(s.system, s.name): s.value for s in found.scores if s.name == "chamfer_distance"}
    (row,) = (r for r in found.comparisons if (r["b"], r["metric"]) == ("mean", "chamfer_distance"))
    assert row["difference"] == pytest.approx(of["braindec", row["metric"]] - of["mean", row["metric"]])


def test_panels_show_presented_beside_decoded_and_meshes_are_written(found, tmp_path):
    (_, kind, grid), _, (_, _, table) = solid_panels.panels(found, n=2, side=16, n_turning=1)
    assert kind == "image_grid" and list(grid["rows"])[:3] == [
        "presented",
        "presented, from behind",
        "decoded",
    ]
    assert all(rows.shape == (2, 16, 16, 3) for rows in grid["rows"].values())
    assert [row[0] for row in table["rows"]][-1] == "chance"
    paths = solid_panels.write_meshes(found, tmp_path, n=1)
    assert [p.name.split("_")[-1] for p in paths] == ["presented.ply", "decoded.ply"] and all(
        p.is_file() for p in paths
    )
