"""Generic Object Decoding: every container gives the planted trials, and what is wrong with a file is said by key."""

from __future__ import annotations

import re
import shutil

import h5py
import numpy as np
import pytest

from braindec import checks, protocols, registry
from braindec.data import NeuralDataset, bdata, catalogue, layout, leakage
from braindec.data.bdata_trials import CONTAINERS

KEY = "sub-01_fmri"
ABSENT = "Not there, so not prepared: subjects 2, 3, 4, 5 of 5."
COUNTED = "sub-01: 30 voxels of visual cortex, where others counted 3444"


@pytest.fixture(scope="module")
def god():
    return catalogue.load("god")


@pytest.fixture(scope="module")
def made(god, tmp_path_factory):
    base = tmp_path_factory.mktemp("god")
    truth = god["synthetic"](base / "raw")
    counts = god["prepare"](base / "raw", base / "out", image_side=16)
    return base / "raw", truth, base / "out", counts


@pytest.fixture(scope="module")
def written(god, tmp_path_factory):
    raw = tmp_path_factory.mktemp("god_small") / "raw"
    god["synthetic"](raw, pictures=False)
    return raw


@pytest.fixture
def broken(written, tmp_path):
    """A file without pictures, opened for a change."""
    return shutil.copytree(written, tmp_path / "raw") / "Subject1.h5"


def refused(god, path, **kwargs):
    """The message of the one error, which names the file; nothing is written."""
    with pytest.raises(checks.DataFileError) as error:
        god["prepare"](path.parent, path.parent.parent / "out", **kwargs)
    assert error.value.path == path and not (path.parent.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_planted_ones(made):
    _, truth, out, counts = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert counts.trials == {KEY: 3450} and counts.n_stimuli == 1250 and counts.missing == (ABSENT, COUNTED)
    assert trials.responses[:] == pytest.approx(truth.responses[KEY], abs=1e-5)
    for column in truth.tables[KEY]:
        assert np.array_equal(trials.table[column], truth.tables[KEY][column]), column
    layout.verify(out)


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_holds_the_same(god, tmp_path, container):
    truth = god["synthetic"](tmp_path / "raw", container=container, pictures=False)
    counts = god["prepare"](tmp_path / "raw", tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    assert dataset.trials[KEY].responses[:] == pytest.approx(truth.responses[KEY], abs=1e-5)
    assert np.array_equal(dataset.trials[KEY].table["stimulus_id"], truth.tables[KEY]["stimulus_id"])
    assert counts.missing == (
        ABSENT,
        "all 1250 pictures (images/); without them only labels are known",
        COUNTED,
    )
    assert dataset.stimuli.kind == "none"


def test_voxels_lie_where_their_millimetres_say(made):
    space = NeuralDataset.read(made[2]).trials[KEY].space
    assert space.kind == "voxels" and space.mask.shape == (5, 3, 2) and space.mask.all()
    assert np.allclose(space.affine, [[3, 0, 0, -40], [0, 3, 0, -40], [0, 0, 3, -40], [0, 0, 0, 1]])
    x = np.nonzero(space.mask)[0]
    assert np.array_equal(space.regions["V1"], x == 0) and space.regions["VC"].all()


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(god, made, tmp_path):
    raw, _, _, counts = made
    dry = god["prepare"](raw, tmp_path / "none", dry_run=True)
    assert dry == counts and not list(tmp_path.iterdir())
    assert [line.split()[0] for line in dry.plan] == ["reads", "writes", "needs"]


def test_preparing_again_changes_nothing(god, made):
    raw, _, out, counts = made
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert god["prepare"](raw, out, image_side=16) == counts
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_another_setting_prepares_again_and_an_unknown_one_is_refused(god, broken):
    out = broken.parent.parent / "out"
    god["prepare"](broken.parent, out)
    before = (out / "dataset.json").read_bytes()
    god["prepare"](broken.parent, out, sets=("invalid=drop",))
    assert (out / "dataset.json").read_bytes() != before
    assert layout.read_manifest(out)["settings"]["invalid"] == "drop"
    with pytest.raises(checks.ConfigError, match="invalid"):
        god["prepare"](broken.parent, out, sets=("invalid=keep",))


def test_the_test_part_is_what_the_protocol_judges_and_shares_no_category(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    protocol = registry.load("protocols", "object_images").PROTOCOLS["god_50"]
    assert isinstance(protocol, protocols.Protocol)
    assert len(test.stimulus_ids) == protocol.pool.size
    with pytest.raises(checks.ConfigError, match="fixed list of stimulus"):
        protocol.check_pool(test.stimulus_ids)  # the right number, but pictures of a miniature
    assert all(
        re.fullmatch(r"n\d{8}_\d+", i) for i in test.stimulus_ids
    )  # the form in which the list is hashed
    ids, n = np.unique(test.trials[KEY].table["stimulus_id"], return_counts=True)
    protocol.check_repeats(dict(zip(ids.tolist(), n.tolist(), strict=True)))
    imagery = dataset.with_split("imagery").part("test")
    assert imagery.n_trials == 500 and set(imagery.stimulus_ids) == set(test.stimulus_ids)
    assert set(imagery.trials[KEY].table["experiment"]) == {"imagery"}


def test_pictures_belong_to_their_ids(made):
    from PIL import Image

    stimuli = NeuralDataset.read(made[2]).stimuli
    for name, folder in (
        (made[1].details["images"][3], "training"),
        (made[1].details["images"][1249], "test"),
    ):
        with Image.open(made[0] / "images" / folder / f"{name}.JPEG") as picture:
            colour = np.asarray(picture, dtype=float).mean((0, 1))
        assert stimuli.images([name])[0].mean((0, 1)) == pytest.approx(colour, abs=2)


@pytest.mark.parametrize("name", ["n01518878_5958", "n02916179_24850", "n03767745_109", "n15102894_99999"])
def test_a_label_gives_its_image_back_however_it_was_rounded(name, tmp_path):
    exact = bdata.label_of(name)
    for label in (exact, float(f"{exact:.6f}"), np.nextafter(exact, 0), np.nextafter(exact, 1e9)):
        images, synsets = bdata.image_names(tmp_path, np.array([label]))
        assert images[0] == name and synsets[0] == name.split("_")[0]


def test_labels_that_lost_their_decimals_are_refused(god, broken):
    with h5py.File(broken, "r+") as file:
        file["dataset"][:, -1] = file["dataset"][:, -1].astype(np.float32)
    assert "float32" in refused(god, broken)


def test_a_missing_key_is_named_with_those_that_are_there(god, broken):
    with h5py.File(broken, "r+") as file:
        keys = file["metadata/key"][()]
        del file["metadata/key"]
        file["metadata/key"] = [b"Datatype" if k == b"DataType" else k for k in keys]
    message = refused(god, broken)
    assert "'DataType'" in message and "'Datatype'" in message


def test_metadata_of_another_width_say_both_shapes(god, broken):
    with h5py.File(broken, "r+") as file:
        value = file["metadata/value"][()]
        del file["metadata/value"]
        file["metadata/value"] = value[:, :-1]
    message = refused(god, broken)
    assert "(17, 32)" in message and "(17, 33)" in message


def test_too_many_trials_are_refused_and_too_few_are_said(god, broken):
    with h5py.File(broken, "r+") as file:
        data = file["dataset"][()]
        del file["dataset"]
        file["dataset"] = data[10:]
    counts = god["prepare"](broken.parent, broken.parent.parent / "fewer")
    assert counts.missing[1] == "sub-01 training: 10 of 1200 trials"
    with h5py.File(broken, "r+") as file:
        del file["dataset"]
        file["dataset"] = np.concatenate([data, data[:5]])
    assert "1205 training trials, expected 1200" in refused(god, broken)


def test_voxels_with_nan_or_without_variance_are_refused_unless_they_are_dropped(god, broken):
    with h5py.File(broken, "r+") as file:
        file["dataset"][7, 3], file["dataset"][:, 5] = np.nan, 1.0
    message = refused(god, broken)
    assert "1 voxels with NaN" in message and "1 that never vary" in message and "invalid=drop" in message
    out = broken.parent.parent / "dropped"
    god["prepare"](broken.parent, out, invalid="drop")
    trials = NeuralDataset.read(out).trials[KEY]
    assert trials.responses.shape == (3450, 28) and trials.space.mask.sum() == 28
    assert layout.read_manifest(out)["voxels_left_out"] == {KEY: {"not_finite": 1, "constant": 1}}


def test_a_truncated_or_foreign_file_is_one_error(god, broken):
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    refused(god, broken)
    broken.write_bytes(b"nonsense" * 100)
    assert "neither HDF5 nor" in refused(god, broken)


def test_some_pictures_without_others_are_refused(god, tmp_path):
    god["synthetic"](tmp_path / "raw")
    next((tmp_path / "raw" / "images" / "test").iterdir()).unlink()
    with pytest.raises(checks.DataFileError, match="holds 1249 of 1250 pictures"):
        god["prepare"](tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_subject_without_file_is_refused_with_the_way_to_get_it(god, made, tmp_path):
    with pytest.raises(FileNotFoundError, match="--fetch"):
        god["prepare"](made[0], tmp_path / "out", subjects=[2])
    with pytest.raises(checks.ConfigError, match="subjects"):
        god["prepare"](made[0], tmp_path / "out", subjects=[6])
    paths = god["fetch"](tmp_path / "raw", dry_run=True)
    assert [p.name for p in paths] == [f"Subject{i}.h5" for i in range(1, 6)]
