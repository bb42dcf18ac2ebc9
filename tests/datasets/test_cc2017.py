"""CC2017: the volume of each clip, whatever the run's length, and clips as continuous runs."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from braindec import checks, registry
from braindec.data import NeuralDataset, catalogue, clips, layout, leakage
from braindec.data.cifti import DenseSeries
from braindec.types import Embeddings

KEY = "sub-03_fmri"
SOME = ("seg1", "test1", "test2")
ABSENT = "Not there, so not prepared: subjects 1, 2 of 3."


@pytest.fixture(scope="module")
def wen():
    return catalogue.load("cc2017")


@pytest.fixture(scope="module")
def made(wen, tmp_path_factory):
    base = tmp_path_factory.mktemp("cc2017")
    truth = wen["synthetic"](base / "raw", films=SOME, frames=True)
    return base / "raw", truth, base / "out", wen["prepare"](base / "raw", base / "out", image_side=8)


@pytest.fixture
def raw(wen, tmp_path):
    wen["synthetic"](tmp_path / "raw", films=("seg1", "seg2"))
    return tmp_path / "raw"


def path_of(raw, film="seg1", repeat=1):
    folder = raw / "Subject03" / "video_fmri_dataset" / "subject3" / "fmri"
    return folder / film / "cifti" / f"{film}_{repeat}_Atlas.dtseries.nii"


def refused(wen, raw, path, **kwargs):
    with pytest.raises(checks.DataFileError) as error:
        wen["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def rewritten(path, change):
    """The same file with its volumes changed."""
    image = nibabel.load(path)
    volumes = change(np.asarray(image.dataobj).copy())
    old, models = image.header.get_axis(0), image.header.get_axis(1)
    series = nibabel.cifti2.SeriesAxis(0, old.step, len(volumes), "SECOND")
    nibabel.save(nibabel.Cifti2Image(volumes, (series, models)), path)


def test_prepared_trials_are_the_planted_volumes(made):
    _, truth, out, counts = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert counts.trials == {KEY: 240 * (2 + 10 + 9)} and counts.n_stimuli == 720
    assert np.array_equal(trials.responses[:], truth.responses[KEY])
    for column in truth.tables[KEY]:
        assert np.array_equal(trials.table[column], truth.tables[KEY][column]), column
    layout.verify(out)


def test_vertices_are_those_of_the_cortex(made):
    space = NeuralDataset.read(made[2]).trials[KEY].space
    details = made[1].details
    assert space.mesh == "fs_LR_32k"
    assert np.array_equal(space.left, details["left"]) and np.array_equal(space.right, details["right"])


def test_missing_runs_are_counted_and_named(made):
    assert made[3].missing == (
        ABSENT,
        "sub-03: 65 of 86 runs (seg2_1, seg2_2, seg3_1, seg3_2, seg4_1, seg4_2)",
        "sub-03: 36 vertices of the cortex, where others counted 59412",
    )


def test_all_runs_give_the_clips_that_the_protocol_is_judged_on(wen, tmp_path):
    wen["synthetic"](tmp_path / "raw")
    counts = wen["prepare"](tmp_path / "raw", tmp_path / "out")
    assert counts.trials == {KEY: 20_400}
    assert counts.missing[1] == "sub-03: 1 of 86 runs (test2_9)"
    dataset = NeuralDataset.read(tmp_path / "out")
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    registry.load("protocols", "continuous").PROTOCOLS["cc2017_test"].check_pool(test.stimulus_ids)
    assert len(train.stimulus_ids) == 4320


def test_another_lag_is_another_volume_and_is_recorded(wen, made, tmp_path):
    raw, truth, out, _ = made
    wen["prepare"](raw, tmp_path / "out", image_side=8, lag_s=6.0)
    later = NeuralDataset.read(tmp_path / "out")
    assert later.about["hrf_lag_s"] == 6.0 and NeuralDataset.read(out).about["hrf_lag_s"] == 4.0
    first = truth.responses[KEY][:240]
    assert np.array_equal(later.trials[KEY].responses[:239], first[1:])
    with pytest.raises(checks.ConfigError, match="lag_s"):
        wen["prepare"](raw, tmp_path / "none", lag_s=3.0)


def test_frames_belong_to_their_clips(made):
    stimuli = NeuralDataset.read(made[2]).stimuli
    colours = made[1].details["colours"]
    found = stimuli.images(["seg1-000", "test1-017", "test2-239"])[:, 4, 4]
    assert np.array_equal(found, [colours[0, 0], colours[1, 17], colours[2, 239]])


def test_frames_at_a_higher_rate_give_the_one_at_the_middle(tmp_path):
    from PIL import Image

    for i in range(12):  # 3 a second for two clips of 2 s
        Image.new("RGB", (4, 4), (20 * i, 0, 0)).save(tmp_path / f"{i:03d}.png")
    frames = list(clips.middle_frames(tmp_path, 2, 2.0, 4))
    assert [int(f[0, 0, 0, 0]) for f in frames] == [60, 180]


def test_a_decoded_film_gives_the_frame_shown_at_the_middle_of_each_clip(tmp_path):
    av = pytest.importorskip("av", reason="needs braindec[video]")
    path = tmp_path / "seg1.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.bit_rate = 4_000_000
        for i in range(60):  # 6 s: three clips, each of one grey
            picture = np.full((32, 32, 3), 60 * (i // 20) + 30, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    frames = list(clips.middle_frames(path, 3, 2.0, 8))
    assert [round(float(f.mean())) for f in frames] == pytest.approx([30, 90, 150], abs=6)
    with pytest.raises(checks.DataFileError, match="before the middle of its clip at 7"):
        list(clips.middle_frames(path, 4, 2.0, 8))


def test_runs_are_continuous_beside_the_features_of_their_clips(made):
    dataset = NeuralDataset.read(made[2])
    trials, ids = dataset.trials[KEY], dataset.stimuli.ids
    values = np.arange(len(ids), dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), dtype=np.float32)
    features = Embeddings(ids, values, "mine", {}, "0")
    found = clips.continuous(trials, features, lag_s=4.0, runs=["seg1-2", "test2-10"])
    assert set(found.runs) == {"seg1-2", "test2-10"} and found.sfreq == found.feature_sfreq == 0.5
    rows = np.flatnonzero(trials.table["run"] == "test2-10")
    assert np.array_equal(found.runs["test2-10"], trials.responses[rows])
    start = ids.index("test2-000")
    assert np.array_equal(found.features["test2-10"][:, 0], start + np.arange(240))
    assert found.offset_s == {"seg1-2": -4.0, "test2-10": -4.0}


def test_a_dry_run_counts_and_writes_nothing(wen, made, tmp_path):
    raw, _, _, counts = made
    assert wen["prepare"](raw, tmp_path / "none", dry_run=True) == counts and not list(tmp_path.iterdir())


def test_a_run_of_another_length_is_refused_with_what_was_expected(wen, raw):
    rewritten(path_of(raw), lambda volumes: volumes[:240])
    assert "holds 240 volumes, expected 245 or 246" in refused(wen, raw, path_of(raw))


def test_a_truncated_run_is_refused(wen, raw):
    path = path_of(raw, "seg2", 2)
    path.write_bytes(path.read_bytes()[:-100])
    assert "its header asks for" in refused(wen, raw, path)


def test_a_header_that_is_no_longer_xml_is_refused(wen, raw):
    path = path_of(raw)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"<Matrix", b"<<atrix", 1))
    assert "cannot be read" in refused(wen, raw, path)


def test_vertices_of_another_mesh_are_refused(wen, raw):
    other = raw.parent / "other"
    wen["synthetic"](other, films=("seg2",), seed=1)
    path_of(raw, "seg2", 1).write_bytes(path_of(other, "seg2", 1).read_bytes())
    assert "are not the 36 of other runs" in refused(wen, raw, path_of(raw, "seg2", 1))


def test_a_volume_image_is_no_dense_series(tmp_path):
    path = tmp_path / "seg1_1_Atlas.dtseries.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4)), path)
    with pytest.raises(checks.DataFileError, match="no CIFTI-2"):
        DenseSeries(path)


def test_vertices_with_nan_or_without_variance_are_refused_or_dropped(wen, raw):
    def spoil(volumes):
        volumes[100, 2], volumes[:, 30] = np.nan, 5.0
        return volumes

    rewritten(path_of(raw, "seg1", 2), spoil)
    message = refused(wen, raw, path_of(raw, "seg1", 2))
    assert "1 voxels with NaN" in message and "1 that never vary" in message
    wen["prepare"](raw, raw.parent / "dropped", invalid="drop")
    space = NeuralDataset.read(raw.parent / "dropped").trials[KEY].space
    assert (len(space.left), len(space.right)) == (19, 15)


def test_what_was_staged_is_not_read_again_and_a_mended_run_is_used(wen, raw):
    path = path_of(raw, "seg2", 2)
    whole = path.read_bytes()
    rewritten(
        path, lambda volumes: np.where(np.arange(volumes.shape[1]) == 3, np.nan, volumes).astype(np.float32)
    )
    refused(wen, raw, path)
    path.write_bytes(whole)
    assert wen["prepare"](raw, raw.parent / "out").trials == {KEY: 960}


def test_a_subject_that_is_absent_is_refused_and_fetch_says_where_it_is(wen, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"subject1/fmri in .*Subjects with files: \[3\]"):
        wen["prepare"](raw, tmp_path / "none", subjects=[1])
    with pytest.raises(checks.DownloadError, match="10_4231_R7X63K3M"):
        wen["fetch"](tmp_path / "empty", subjects=[1])
    assert len(wen["fetch"](tmp_path / "empty", dry_run=True)) == 3 * 86


@pytest.fixture(scope="module")
def moving(wen, tmp_path_factory):
    """(truth, prepared folder) of one training film and a test film that move."""
    folder = tmp_path_factory.mktemp("moving")
    truth = wen["synthetic"](folder / "raw", films=["seg1", "test1"], moving=True, n_vertices=30)
    wen["prepare"](folder / "raw", folder / "out", n_frames=4, image_side=64)
    return truth, folder / "out"


def test_frames_of_clips_are_kept_in_their_order_and_the_middle_one_is_the_picture(moving):
    truth, out = moving
    stimuli = NeuralDataset.read(out).stimuli
    assert stimuli.kind == "video"
    ids = ["seg1-003", "test1-239", "seg1-000"]
    expected = truth.details["clips"][[0, 1, 0], [3, 239, 0]]
    assert np.array_equal(stimuli.clips(ids), expected)
    assert np.array_equal(stimuli.images(ids), expected[:, 2])
    layout.verify(out)


def test_each_third_of_the_vertices_knows_one_thing_of_a_moving_film_alone(moving):
    truth, out = moving
    trials = NeuralDataset.read(out).trials[KEY]
    rows = trials.table["run"] == "seg1-1"
    responses = trials.responses[:][rows]
    responses = responses - responses.mean(0)
    speed = truth.details["motion"][0]
    explained = []
    for third in np.array_split(np.arange(30), 3):
        x = np.column_stack([responses[:, third], np.ones(240)])
        half = np.arange(240) % 2 == 0
        weights = np.linalg.lstsq(x[half], speed[half], rcond=None)[0]
        explained.append(np.corrcoef((x[~half] @ weights)[:, 0], speed[~half, 0])[0, 1])
    assert explained[2] > 0.8 and max(abs(r) for r in explained[:2]) < 0.25


def test_films_with_fewer_frames_than_asked_for_are_refused(wen, moving):
    raw = moving[1].parent / "raw"
    with pytest.raises(checks.DataFileError, match="holds 960 frames, expected 1440 or more for 240 clips"):
        wen["prepare"](raw, moving[1].parent / "more", n_frames=6)
