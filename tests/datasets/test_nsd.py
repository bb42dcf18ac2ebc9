"""NSD's miniature, in the containers of the real files, is prepared trial by trial; a fault is one error."""

from __future__ import annotations

import io
import pickle
import shutil
import subprocess
import sys
import tarfile
import tracemalloc

import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat

from braindec import checks, store
from braindec.data import NeuralDataset, catalogue, layout, leakage, nsd, staging
from braindec.types import VoxelSpace

ALL = ("nsd", "nsdimagery", "nsdsynthetic")
B3 = "betas_fithrf_GLMdenoise_RR"
SESSION = f"nsddata_betas/ppdata/subj01/func1pt8mm/{B3}/betas_session02.hdf5"
DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"
RESPONSES = "nsddata/ppdata/subj01/behav/responses.tsv"
KEYS = ("sub-01_fmri", "sub-02_fmri")


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("nsd")


@pytest.fixture(scope="module")
def raw(functions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nsd") / "raw"
    return folder, functions["synthetic"](folder)


@pytest.fixture(scope="module")
def prepared(functions, raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("nsd") / "out"
    counts = functions["prepare"](raw[0], out, experiments=ALL, image_side=32, n_jobs=1)
    return out, counts


@pytest.fixture
def copy(raw, tmp_path):
    """The raw files of subject 1, to be damaged; large ones that no test damages are linked."""
    wanted = ("subj01", "experiments", "nsd_stimuli", "bdata", "synthetic.json")
    target = tmp_path / "raw"
    for path in raw[0].rglob("*"):
        name = str(path.relative_to(raw[0]))
        if path.is_file() and any(w in name for w in wanted) and "fsaverage" not in name:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
    return target


@pytest.mark.parametrize("key", KEYS)
def test_every_trial_is_the_planted_one_to_the_bit(raw, prepared, key):
    dataset, truth = NeuralDataset.read(prepared[0]), raw[1]
    trials = dataset.trials[key]
    assert np.array_equal(trials.responses[:], truth.responses[key])
    core, further = truth.tables[key], truth.tables[f"{key}/further"]
    n = core.n_rows
    for column in core:
        assert np.array_equal(trials.table[column][:n], core[column]), column
    assert trials.table["stimulus_id"][n:].tolist() == further["stimulus_id"].tolist()
    assert np.array_equal(trials.space.mask, truth.details["masks"][key])


def test_pictures_stand_under_the_ids_of_the_trials_that_showed_them(raw, prepared):
    stimuli, colours = NeuralDataset.read(prepared[0]).stimuli, raw[1].details["colours"]
    core = [i for i in stimuli.ids if i.startswith("nsd-")]
    fields = stimuli.images(core)[:, 4::8, 4::8]  # a pixel inside each of the 4 x 4 fields
    assert np.array_equal(fields, colours[[int(i[4:]) for i in core]])
    assert len(stimuli.ids) == 904 + 24 + 220 + 2 * 64
    listed = pd.read_csv(raw[0] / "nsddata/experiments/nsd/nsd_stim_info_merged.csv").set_index("nsdId")
    numbers = [int(i[4:]) if i.startswith("nsd-") else -1 for i in stimuli.ids]
    assert stimuli.table["nsd_id"].tolist() == numbers
    coco = [int(listed["cocoId"][i]) if i >= 0 else -1 for i in numbers]
    assert stimuli.table["coco_id"].tolist() == coco


def test_a_dry_run_counts_the_same_and_says_what_is_missing(functions, raw, prepared, tmp_path):
    counts = functions["prepare"](raw[0], tmp_path / "none", experiments=ALL, dry_run=True)
    assert counts == prepared[1] == catalogue.counts(prepared[0])
    assert counts.trials == dict.fromkeys(KEYS, 1500 + 288 + 744)
    sets = ('experiments=["nsd","nsdimagery"]', "sessions=[2]")
    by_words = functions["prepare"](raw[0], tmp_path / "none", sets=sets, dry_run=True)
    assert by_words.trials == dict.fromkeys(KEYS, 750 + 288)
    assert "subject 1: 38 of 40 sessions (3-40)" in counts.missing
    assert any("reads" in line and "writes" in line for line in counts.plan)
    assert list(tmp_path.iterdir()) == []
    layout.verify(prepared[0])


def test_shared_images_are_counted_by_repeats_as_the_982_are(raw, prepared):
    dataset = NeuralDataset.read(prepared[0])
    tests = {name: len(split.values("test")) for name, split in dataset.splits.items()}
    assert tests == {
        "shared1000": 100, "shared982": 95, "shared_three_times": 95, "imagined": 12, "seen_in_imagery_session": 12,
        "nsdsynthetic": 220 + 2 * 64,
    }  # fmt: skip
    shared = set((loadmat(raw[0] / DESIGN)["sharedix"].ravel() - 1).astype(int).tolist())
    for name in dataset.splits:
        parts = dataset.with_split(name)
        leakage.check(parts.part("train"), parts.part("test"))
        assert not {int(i[4:]) for i in parts.split.values("train")} & shared


def test_the_surface_is_read_unscaled_and_left_hemisphere_first(functions, raw, tmp_path):
    functions["prepare"](raw[0], tmp_path / "out", space="fsaverage", subjects=[2], image_side=32)
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-02_fmri"]
    assert np.array_equal(trials.responses[:], raw[1].details["surface"]["sub-02_fmri"])
    assert trials.space.kind == "vertices" and {"streams-1", "streams-2"} == set(trials.space.regions)


def test_compressed_volumes_hold_the_same_as_hdf5(raw):
    niftis = nsd.read_nsd(raw[0], 1, betas="betas_fithrf")
    rows = np.array([1400, 3, 3, 749, 750])
    expected = raw[1].responses["sub-01_fmri"][rows]
    assert np.array_equal(niftis.responses[rows], expected)
    assert np.array_equal(nsd.read_nsd(raw[0], 1).responses[rows], expected)


def test_a_session_of_chunks_is_read_without_the_voxels_outside_the_mask(tmp_path):
    grid, n = (30, 30, 20), 750  # x, y, z: 27 MB of int16
    mask = np.zeros(grid, dtype=bool)
    mask[10:14, 5:20, 8] = True
    with h5py.File(tmp_path / "betas_session01.hdf5", "w") as file:
        file.create_dataset("betas", (n, *grid[::-1]), np.int16, chunks=(n, 1, 1, 1), fillvalue=600)
        file["betas"][:, 8, 5, 10] = 300 * np.arange(n) % 3000
    rows = nsd.session_rows([(tmp_path / "betas_session01.hdf5",)], [n], VoxelSpace(mask, np.eye(4)))
    tracemalloc.start()
    values = rows[np.arange(n)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values[:, 0] == pytest.approx(np.arange(n) % 10) and (values[:, 1:] == 2).all()
    assert peak < 5 * values.nbytes + 100_000  # a session of all voxels has 27 MB


def test_dataset_json_says_what_the_betas_were_chosen_on(functions, raw, copy, tmp_path):
    functions["prepare"](raw[0], tmp_path / "mini", subjects=[1], image_side=16)
    assert layout.read_manifest(tmp_path / "mini")["synthetic"] is True
    (copy / "synthetic.json").unlink()
    expected = {B3: ("each_session", "all", "all"), "betas_fithrf": ("each_session", "none", "none")}
    for betas, entries in expected.items():
        functions["prepare"](copy, tmp_path / betas, betas=betas, image_side=16)
        about = layout.read_manifest(tmp_path / betas)
        said = about["betas"]
        assert entries == (said["hrf_chosen_on"], said["noise_regressors_on"], said["ridge_chosen_on"])
        assert said["z_scored_on"] == "none" and "synthetic" not in about
        assert about["features"]["selected_on"] == "all_unlabelled"


def test_a_run_that_was_stopped_goes_on_and_nothing_shows_before_all_is_done(functions, copy, tmp_path):
    damaged = copy / SESSION
    whole = damaged.read_bytes()
    values = h5py.File(damaged, "r+")
    chunk = values["betas"].id.get_chunk_info(300)
    values.close()
    with damaged.open("r+b") as file:  # readable header, cut data
        file.truncate(chunk.byte_offset)
    out = tmp_path / "out"
    with pytest.raises(checks.DataFileError, match="betas_session02"):
        functions["prepare"](copy, out, image_side=16)
    assert not out.exists()
    damaged.write_bytes(whole)
    with joblib.parallel_config("threading"):  # a worker process would not find a checkout taken off sys.path
        functions["prepare"](copy, out, image_side=16, n_jobs=2)
    assert not staging.folder_of(out).exists()
    before = (out / "sub-01_fmri.h5").stat().st_mtime_ns
    functions["prepare"](copy, out, image_side=16)
    assert (out / "sub-01_fmri.h5").stat().st_mtime_ns == before


def test_an_error_of_a_worker_process_arrives_whole():
    sent = checks.DataFileError("a.hdf5", "lacks 'betas'", "Copy it again.")
    got = pickle.loads(pickle.dumps(sent))
    assert (str(got), got.path, got.way_out) == (str(sent), sent.path, sent.way_out)


def swap_subject(copy):
    text = (copy / RESPONSES).read_text().replace("\n1\t", "\n2\t")
    (copy / RESPONSES).write_text(text)


def swap_images(copy):
    lines = (copy / RESPONSES).read_text().splitlines()
    lines[4], lines[5] = lines[5], lines[4]
    (copy / RESPONSES).write_text("\n".join(lines) + "\n")


def cut_rows(copy):
    (copy / RESPONSES).write_text("\n".join((copy / RESPONSES).read_text().splitlines()[:-30]) + "\n")


def rewrite(copy, change):
    with h5py.File(copy / SESSION) as file:
        values = file["betas"][()]
    with h5py.File(copy / SESSION, "w") as file:
        for name, data in change(values).items():
            file[name] = data


def zero_based(copy):
    held = loadmat(copy / DESIGN)
    savemat(
        copy / DESIGN, {k: held[k] - (k == "subjectim") for k in ("masterordering", "subjectim", "sharedix")}
    )


def replace_pictures(copy):
    with h5py.File(copy / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", "w") as file:
        file["imgBrick"] = np.zeros((9, 4, 4, 3), dtype=np.uint8)


def lose_voxels(values):
    return {"betas": values * (np.arange(values[0].size).reshape(values[0].shape) % 5 > 0)}


def cut_stream(copy):
    path = copy / SESSION.replace(B3, "betas_fithrf").replace(".hdf5", ".nii.gz")
    path.write_bytes(path.read_bytes()[:-2000])


def betas(change):
    return lambda copy: rewrite(copy, change)


FAULTS = {
    "another subject's behaviour": (swap_subject, r"responses.tsv.*'SUBJECT' \[2\], expected \[1\]"),
    "images in another order": (swap_images, r"responses.tsv.*other images"),
    "behaviour that ends early": (cut_rows, r"responses.tsv.*'SESSION', expected 750 each"),
    "another key": (betas(lambda v: {"beta": v}), r"session02.hdf5.*lacks the dataset 'betas'.*\['beta'\]"),
    "floats": (betas(lambda v: {"betas": v / 300}), r"session02.hdf5.*'betas' as float64.*expected int16"),
    "fewer trials": (betas(lambda v: {"betas": v[:700]}), r"session02.hdf5.*\(700, 8, 9, 10\), expected"),
    "axes of NIfTI": (betas(lambda v: {"betas": v.transpose(0, 3, 2, 1)}), r"session02.hdf5.*trial, z, y, x"),
    "a voxel without data": (betas(lose_voxels), r"session02.hdf5.*constant of 171.*invalid=drop"),
    "ids from zero": (zero_based, r"nsd_expdesign.mat.*image ids.*expected 1-based"),
    "a design without a list": (
        lambda c: savemat(c / DESIGN, {"masterordering": np.ones((1, 30_000)), "subjectim": np.ones((8, 10_000))}),
        r"nsd_expdesign.mat.*lacks \['sharedix'\]",
    ),
    "too few pictures": (replace_pictures, r"nsd_stimuli.hdf5.*'imgBrick'.*\(9, 4, 4, 3\), expected uint8 \(73000"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_error_with_file_key_and_way_out_and_writes_nothing(functions, copy, tmp_path, fault):
    damage, said = FAULTS[fault]
    damage(copy)
    with pytest.raises(checks.DataFileError, match=said) as error:
        functions["prepare"](copy, tmp_path / "out", image_side=16)
    assert error.value.way_out and not (tmp_path / "out").exists()


def test_a_cut_gzip_stream_is_refused(functions, copy, tmp_path):
    cut_stream(copy)
    with pytest.raises(checks.DataFileError, match=r"session02\.nii\.gz"):
        functions["prepare"](copy, tmp_path / "out", betas="betas_fithrf", image_side=16)


def test_voxels_without_data_are_dropped_when_asked_and_counted(functions, copy, raw, tmp_path):
    rewrite(copy, lose_voxels)
    functions["prepare"](copy, tmp_path / "out", image_side=16, invalid="drop")
    about = layout.read_manifest(tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"]
    whole, kept = raw[1].details["masks"]["sub-01_fmri"], trials.space.mask
    assert about["dropped_features"] == {"sub-01_fmri": int(whole.sum() - kept.sum())} and kept.sum() > 100
    assert np.array_equal(trials.responses[:750], raw[1].responses["sub-01_fmri"][:750][:, kept[whole]])
    ncsnr = store.Stored(tmp_path / "out" / "ncsnr_sub-01_fmri.h5").array("ncsnr")
    assert len(ncsnr) == kept.sum()


def test_what_is_not_there_is_named_with_what_is(functions, raw, tmp_path):
    prepare = functions["prepare"]
    with pytest.raises(FileNotFoundError, match=r"subjects \[1, 2\], not of \[5\]"):
        prepare(raw[0], tmp_path, subjects=[5])
    with pytest.raises(FileNotFoundError, match=r"sessions \[1, 2\], not \[7\]"):
        prepare(raw[0], tmp_path, sessions=[1, 7])
    with pytest.raises(checks.ConfigError, match="Did you mean 'betas_fithrf'"):
        prepare(raw[0], tmp_path, betas="betas_fithr")
    with pytest.raises(FileNotFoundError, match="--fetch --dry-run"):
        prepare(tmp_path, tmp_path / "out")


def test_absent_pictures_are_named_before_anything_is_staged(functions, copy, tmp_path):
    (copy / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match=r"nsd_stimuli\.hdf5 does not exist. Get NSD's"):
        functions["prepare"](copy, tmp_path / "out")
    assert not staging.folder_of(tmp_path / "out").exists()


def test_fetch_lists_addresses_and_sizes_and_downloads_nothing_without_the_terms(functions, tmp_path, capsys):
    paths = functions["fetch"](tmp_path, subjects=[1], dry_run=True)
    said = capsys.readouterr().out
    assert len([p for p in paths if "betas_session" in p.name]) == 40
    assert (
        "https://natural-scenes-dataset.s3.amazonaws.com/nsddata_betas/ppdata/subj01" in said and "MB" in said
    )
    with pytest.raises(checks.DownloadError, match="terms"):
        functions["fetch"](tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def packed(functions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mindeye") / "raw"
    return folder, functions["synthetic"](folder, layout="mindeye2")


def test_mindeyes_files_are_known_by_their_names_and_prepared_in_order_of_acquisition(
    functions, packed, tmp_path
):
    folder, truth = packed
    functions["prepare"](folder, tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    trials, key = dataset.trials["sub-01_fmri"], "sub-01_fmri"
    assert np.array_equal(trials.responses[:], truth.responses[key])
    for column in truth.tables[key]:
        assert np.array_equal(trials.table[column], truth.tables[key][column])
    assert trials.table["onset_s"][:3] == pytest.approx([0, 4, 8], abs=0.01)
    image = dataset.stimuli.images(["nsd-" + trials.table["stimulus_id"][0][4:]])[0]
    colours = truth.details["colours"][int(trials.table["stimulus_id"][0][4:])]
    assert image[28::56, 28::56] == pytest.approx(255 * colours, abs=0.6)
    assert set(trials.space.regions) == {"V1", "V2", "higher_vis"}


def tar_with(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def npy(values):
    content = io.BytesIO()
    np.save(content, values, allow_pickle=True)
    return content.getvalue()


PACKED_FAULTS = {
    "a pickle": (lambda p: tar_with(p, {"sample000000000.behav.npy": npy(np.array([{}]))}), "cannot be read"),
    "another shape": (
        lambda p: tar_with(p, {"sample000000000.behav.npy": npy(np.zeros((1, 9)))}),
        r"\(1, 17\)",
    ),
    "no sample": (lambda p: tar_with(p, {"../../evil.npy": npy(np.zeros((1, 17)))}), "holds no member"),
    "another subject": (
        lambda p: tar_with(p, {"sample000000000.behav.npy": npy(np.full((1, 17), 2.0))}),
        "expected 1",
    ),
    "a cut file": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "0.tar"),
}


@pytest.mark.parametrize("fault", PACKED_FAULTS)
def test_damaged_tars_are_refused_and_never_unpacked(functions, packed, tmp_path, fault):
    folder = tmp_path / "raw"
    shutil.copytree(packed[0] / "wds", folder / "wds")
    for path in packed[0].glob("*.hdf5"):
        (folder / path.name).symlink_to(path)
    damage, said = PACKED_FAULTS[fault]
    damage(folder / "wds/subj01/new_test/0.tar")
    with pytest.raises(checks.DataFileError, match=said):
        functions["prepare"](folder, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


@pytest.fixture(scope="module")
def averaged(functions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mindeye1") / "raw"
    return folder, functions["synthetic"](folder, layout="mindeye1")


def test_mindeye1_s_tars_give_every_response_once_with_its_image_and_picture(functions, averaged, tmp_path):
    folder, truth = averaged
    counts = functions["prepare"](folder, tmp_path / "out", image_side=64)
    assert any("24 of 8559 images of the part train" in said for said in counts.missing)
    dataset = NeuralDataset.read(tmp_path / "out")
    trials, key = dataset.trials["sub-01_fmri"], "sub-01_fmri"
    assert np.array_equal(trials.responses[:], truth.responses[key])
    assert len(truth.responses[key]) < 3 * 40  # padded rows are not responses
    for column in truth.tables[key]:
        assert np.array_equal(trials.table[column], truth.tables[key][column])
    assert (trials.table["acquisition_order"] == -1).all()
    for name in ("nsd-" + i[4:] for i in dataset.stimuli.ids[:5]):
        image = dataset.stimuli.images([name])[0]
        assert image[8::16, 8::16] == pytest.approx(
            255 * truth.details["colours"][int(name[4:])], abs=12
        )  # JPEG
    split = dataset.with_split("shared982")
    seen = {p: set(split.part(p).trials[key].table["stimulus_id"].tolist()) for p in ("train", "test")}
    assert {p: len(ids) for p, ids in seen.items()} == {"train": 30, "test": 10}
    with pytest.raises(checks.ConfigError, match="which session"):
        functions["prepare"](folder, tmp_path / "none", sessions=[1])


def members(path):
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}


AVERAGED_FAULTS = {
    "a pickle": ("coco73k.npy", npy(np.array([{}])), "cannot be read"),
    "half an image": ("coco73k.npy", npy(np.array([1.5])), "no whole number"),
    "an image of none": ("coco73k.npy", npy(np.array([73_000])), "image 73000"),
    "too many repeats": ("num_uniques.npy", npy(np.array([4])), "4 responses"),
    "other voxels": ("nsdgeneral.npy", npy(np.zeros((3, 9), np.float16)), "9 voxels"),
    "one axis": ("nsdgeneral.npy", npy(np.zeros(9, np.float16)), r"\(9,\)"),
    "cut within": ("nsdgeneral.npy", npy(np.zeros((3, 60), np.float16))[:-7], "another length"),
    "nothing": ("nsdgeneral.npy", None, "without"),
    "no picture": ("jpg", None, "without jpg"),
    "a broken picture": ("jpg", b"JFIF", "0.tar"),
}


@pytest.mark.parametrize("fault", AVERAGED_FAULTS)
def test_damaged_tars_of_mindeye1_are_refused(functions, averaged, tmp_path, fault):
    folder = tmp_path / "raw"
    shutil.copytree(averaged[0], folder)
    kind, content, said = AVERAGED_FAULTS[fault]
    path = folder / "webdataset_avg_split/test/test_subj01_0.tar"
    held = members(path)
    first = next(name for name in held if name.endswith(kind))
    held = {n: content if n == first else c for n, c in held.items() if n != first or content is not None}
    tar_with(path, held)
    with pytest.raises(checks.DataFileError, match=said):
        functions["prepare"](folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "folder", ["webdataset_avg_split/test/test_subj01_0.tar", "wds/subj01/new_test/0.tar"]
)
def test_a_tar_cut_between_two_members_is_refused(functions, averaged, packed, tmp_path, folder):
    """Python's reader takes what is left for the whole."""
    source = averaged[0] if folder.startswith("web") else packed[0]
    shutil.copytree(source, tmp_path / "raw")
    path = tmp_path / "raw" / folder
    with tarfile.open(path) as tar:
        cut = tar.getmembers()[5].offset
    path.write_bytes(path.read_bytes()[:cut])
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 5
    with pytest.raises(checks.DataFileError, match="without the end of a tar"):
        functions["prepare"](tmp_path / "raw", tmp_path / "out")


def test_an_image_in_two_parts_or_a_part_without_tars_is_refused(functions, averaged, tmp_path):
    folder = tmp_path / "raw"
    shutil.copytree(averaged[0], folder)
    test = folder / "webdataset_avg_split/test"
    shutil.copyfile(folder / "webdataset_avg_split/val/val_subj01_0.tar", test / "test_subj01_7.tar")
    with pytest.raises(checks.DataFileError, match="and so does val_subj01_0"):
        functions["prepare"](folder, tmp_path / "out")
    shutil.rmtree(test)
    with pytest.raises(FileNotFoundError, match="tars of all parts"):
        functions["prepare"](folder, tmp_path / "out")


def test_the_card_counts_what_the_subjects_sessions_give(functions):
    counts = catalogue.card("nsd").facts["counts"]
    assert [750 * n for n in counts["sessions_by_subject"]] == counts["trials_by_subject"]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_command_writes_the_same_with_two_jobs_of_any_backend(backend, functions, raw, tmp_path):
    """Sessions are read by processes (joblib's own, loky) or threads; a user's dask or ray is chosen the same way."""
    words = ["prepare", "nsd", "--raw", str(raw[0]), "--out", str(tmp_path / "out"), "--jobs", "2"]
    words += ["--subjects", "[1]", "--set", "image_side=16"]
    code = (
        "import joblib, sys; from braindec.cli import main\n"
        f"with joblib.parallel_config({backend!r}): sys.exit(main({words!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    functions["prepare"](raw[0], tmp_path / "alone", subjects=[1], image_side=16)
    made, alone = (layout.read_manifest(tmp_path / n)["recordings"] for n in ("out", "alone"))
    assert made == alone and sorted(p.name for p in tmp_path.iterdir()) == ["alone", "out"]
