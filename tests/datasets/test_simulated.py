"""The simulated dataset: raw files of real formats, read by the real readers, hold what was planted."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from braindec.data import NeuralDataset, catalogue, fmri, layout, meeg, nifti
from braindec.data.simulated import bold, scenes, truth
from braindec.data.simulated.simulate import trials_of
from braindec.data.simulated.world import load_world
from braindec.stats.ceilings import split_half_reliability
from braindec.types import Embeddings

KEYS = ("sub-01_fmri", "sub-02_fmri", "sub-04_fmri", "sub-05_eeg")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Raw folder, prepared folder and what was planted."""
    base = tmp_path_factory.mktemp("simulated")
    functions = catalogue.load("simulated")
    planted = functions["synthetic"](base / "raw", world="smoke", formats=True)
    counts = functions["prepare"](base / "raw", base / "prepared")
    return base / "raw", base / "prepared", planted, counts


def test_the_card_is_complete_and_counts_what_the_demo_world_holds():
    card = catalogue.card("simulated")
    world = load_world(catalogue.folder("simulated") / "world.json")
    expected = {
        s.key: s.n_images * s.n_repeats + world.n_gallery * s.n_gallery_repeats for s in world.subjects
    }
    assert card.facts["counts"] == expected | {"n_stimuli": world.n_stimuli}


def test_the_demo_world_is_the_one_that_was_agreed():
    world = load_world(catalogue.folder("simulated") / "world.json")
    fmri_subjects = [s for s in world.subjects if s.modality == "fmri"]
    assert world.n_gallery == 200 and not world.inverse_crime
    assert [s.n_images * s.n_repeats for s in fmri_subjects] == [3000, 3000, 3000, 300]
    assert len({s.n_voxels for s in fmri_subjects}) == 4 and world.brain.lapse > 0


def test_the_development_world_differs_from_the_demos_in_the_gallery_alone():
    folder = catalogue.folder("simulated")
    demo, development, twin = (
        load_world(folder / f"world{name}.json") for name in ("", "_development", "_inverse_crime")
    )
    assert demo.gallery_seed == twin.gallery_seed != development.gallery_seed == 0
    assert replace(demo, gallery_seed=0, about=development.about) == development
    assert replace(demo, inverse_crime=True, subjects=demo.subjects[:1], about=twin.about) == twin


def test_counts_are_those_of_the_prepared_files(made):
    _, prepared, planted, counts = made
    assert counts.trials == {key: len(planted.responses[key]) for key in KEYS}
    assert catalogue.counts(prepared).to_json() == counts.to_json()
    layout.verify(prepared)


@pytest.mark.parametrize("key", KEYS)
def test_prepared_trials_are_the_planted_ones_up_to_rounding(made, key):
    _, prepared, planted, _ = made
    trials = NeuralDataset.read(prepared).trials[key]
    responses = np.asarray(trials.responses[np.arange(trials.n_trials)])
    rounding = 0.5 / 300 + 1e-6 if "fmri" in key else 1e-6 * np.abs(planted.responses[key]).max()
    assert np.abs(responses - planted.responses[key]).max() <= rounding
    for name, column in planted.tables[key].items():
        if name == "onset_s" and "fmri" in key:  # NSD's TIME is relative to the run's first trial here
            continue
        assert trials.table[name].tolist() == column.tolist(), name


def test_regions_survive_the_files_and_fifteen_percent_of_voxels_are_silent(made):
    _, prepared, planted, _ = made
    space = NeuralDataset.read(prepared).trials["sub-01_fmri"].space
    for name, members in planted.details["sub-01_fmri"].brain.space.regions.items():
        assert np.array_equal(space.regions[name], members)
    assert space.regions["silent"].mean() == pytest.approx(0.15, abs=0.02)


def test_betas_are_int16_with_reversed_axes_as_nsd_distributes_them(made):
    raw, _, planted, _ = made
    path = raw / "nsd/nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session01.hdf5"
    mask = planted.details["sub-01_fmri"].brain.space.mask
    with h5py.File(path) as file:
        betas = file["betas"]
        assert betas.dtype == np.int16 and betas.shape == (120, *mask.shape[::-1])
        first = betas[0].transpose(2, 1, 0)[mask] / 300
    assert first == pytest.approx(planted.responses["sub-01_fmri"][0], abs=0.002)


def test_the_design_file_leads_from_trial_to_picture_as_in_nsd(made):
    raw, _, planted, _ = made
    design = loadmat(raw / "nsd/nsddata/experiments/nsd/nsd_expdesign.mat")
    order = design["masterordering"].ravel().astype(int)
    for subject in (1, 2):
        shown = design["subjectim"][subject - 1, order - 1].astype(int) - 1
        assert shown.tolist() == planted.details[f"sub-0{subject}_fmri"].schedule.stimulus.tolist()
    assert sorted(set(order[order <= 1000])) == list(range(1, 21))


def test_stored_ncsnr_is_near_the_planted_one_and_near_zero_in_silent_voxels(made):
    raw, _, planted, _ = made
    brain = planted.details["sub-02_fmri"].brain
    measured = fmri.read_nsd_ncsnr(raw / "nsd", 2)
    silent = brain.space.regions["silent"]
    assert np.corrcoef(measured, brain.ncsnr)[0, 1] > 0.9
    assert measured[silent].mean() < 0.25 * measured[~silent].mean()


def test_stimuli_hold_pictures_captions_and_every_factor(made):
    raw, prepared, planted, _ = made
    dataset = NeuralDataset.read(prepared)
    stimuli, drawn = dataset.stimuli, planted.details["stimuli"]
    chosen = [stimuli.ids[i] for i in (0, 21, 219)]
    assert np.array_equal(stimuli.images(chosen), drawn.images[[0, 21, 219]])
    assert stimuli.captions[chosen[1]] == scenes.caption(drawn.scenes[21])
    assert stimuli.table["category"].tolist() == [scenes.category(s) for s in drawn.scenes]
    for i, scene in enumerate(drawn.scenes[:30]):
        for k, o in enumerate(scene.objects):
            said = {n: stimuli.table[f"object_{k + 1}_{n}"][i] for n in (*scenes.FACTORS, "x_px", "y_px")}
            assert said == {n: getattr(o, n) for n in said}
        assert all(stimuli.table[f"object_{k + 1}_shape"][i] == "" for k in range(len(scene.objects), 3))
    red = [sum(o.colour == "red" for o in s.objects) for s in drawn.scenes]
    assert stimuli.table["factor_red"].tolist() == red
    assert scenes.from_dict(json.loads((raw / "scenes.json").read_text())[5]) == drawn.scenes[5]


def test_train_and_test_share_no_picture_and_all_subjects_share_the_gallery(made):
    dataset = NeuralDataset.read(made[1])
    train, test = dataset.part("train"), dataset.part("test")
    assert not set(train.stimulus_ids) & set(test.stimulus_ids)
    for trials in test.trials.values():
        assert set(trials.table["stimulus_id"].tolist()) == set(test.stimulus_ids)
    assert len(test.stimulus_ids) == 20


def test_motion_is_a_column_and_tells_nothing_of_the_picture(made):
    trials = NeuralDataset.read(made[1]).trials["sub-01_fmri"]
    motion = np.stack([trials.table[f"motion_{n}"] for n in ("trans_x", "rot_z")], 1)
    assert motion.std() > 0
    shown = np.unique(trials.table["stimulus_id"], return_inverse=True)[1]
    between = np.stack([motion[shown == s].mean(0) for s in np.unique(shown)]).var(0)
    assert (between < 2 * motion.var(0) / 3).all()  # what three unrelated trials would give, with room


def test_ncsnr_of_the_files_split_half_reliability_and_the_planted_ncsnr_agree(made):
    """Up to sampling error: 80 pictures, three times each, leave an error of about 0.1 in one voxel's reliability."""
    raw, _, planted, _ = made
    for subject in (1, 2):
        brain, schedule = (getattr(planted.details[f"sub-0{subject}_fmri"], n) for n in ("brain", "schedule"))
        awake, measured = brain.ncsnr > 0, fmri.read_nsd_ncsnr(raw / "nsd", subject)
        assert (measured[awake] ** 2).mean() == pytest.approx((brain.ncsnr[awake] ** 2).mean(), rel=0.15)
        trials = fmri.read_nsd(raw / "nsd", subject)
        responses = np.asarray(trials.responses[np.arange(trials.n_trials)], np.float64)
        rows = [np.flatnonzero(schedule.stimulus == i)[:2] for i in np.unique(schedule.stimulus)]
        pairs = torch.from_numpy(responses[np.stack(rows, 1)])
        found = split_half_reliability(pairs, torch.Generator().manual_seed(0), n_splits=4).numpy()
        for ncsnr in (brain.ncsnr, measured):
            assert (found - ncsnr**2 / (ncsnr**2 + 0.5))[awake].mean() == pytest.approx(0.0, abs=0.06)
        assert abs(found[~awake].mean()) < 0.08


def test_bids_runs_of_two_subjects_have_their_own_haemodynamic_responses(made):
    raw, _, planted, _ = made
    peaks = (3.8, 4.5, 5.2, 5.9, 6.6)
    for subject, own in ((1, 4.5), (2, 5.2)):
        one = planted.details[f"sub-0{subject}_fmri"]
        run = (one.schedule.session == 0) & (one.schedule.run == 0)
        func = raw / f"bids/sub-0{subject}/func/sub-0{subject}_task-scenes_run-1_bold.nii.gz"
        signal = fmri.read_run(
            func, one.brain.space, fmri.read_events(_events(func)), subject=subject, run="1"
        ).signal
        signal = np.asarray(signal, np.float64)
        fits = []
        for peak_s in peaks:
            config = bold.BoldConfig(peak_s=peak_s)
            expected = (
                bold.regressors(one.schedule.onset_s[run], signal.shape[1], config) @ one.responses[run]
            )
            fits.append(np.corrcoef(_centred(signal.T).ravel(), _centred(expected).ravel())[0, 1])
        assert peaks[int(np.argmax(fits))] == own


def _events(func):
    return func.with_name(func.name.replace("_bold.nii.gz", "_events.tsv"))


def _centred(x):
    return x - x.mean(0)


def test_betas_of_bids_runs_are_the_planted_ones_up_to_noise(made):
    raw, _, planted, _ = made
    for subject in (1, 2):
        func = raw / f"bids/sub-0{subject}/func"
        events = fmri.read_events(func / f"sub-0{subject}_task-scenes_run-1_events.tsv")
        schedule = planted.details[f"sub-0{subject}_fmri"].schedule
        run = (schedule.session == 0) & (schedule.run == 0)
        assert events["onset_s"] == pytest.approx(schedule.onset_s[run])
        derived = raw / f"bids/derivatives/fmriprep/sub-0{subject}/func"
        space = nifti.read_mask(derived / f"sub-0{subject}_task-scenes_run-1_desc-brain_mask.nii.gz")
        recording = fmri.read_run(
            func / f"sub-0{subject}_task-scenes_run-1_bold.nii.gz", space, events, subject=subject, run="1"
        )
        found = fmri.glm_betas([recording], method="lss").responses
        planted_betas = planted.responses[f"sub-0{subject}_fmri"][run]
        r = np.corrcoef((found - found.mean(0)).ravel(), (planted_betas - planted_betas.mean(0)).ravel())[
            0, 1
        ]
        assert r > 0.5


def test_things_eeg2_dictionaries_hold_the_planted_epochs(made):
    raw, _, planted, _ = made
    one = planted.details["sub-05_eeg"]
    ids = [f"scene-{i:05d}" for i in range(20)]
    trials = meeg.read_things_eeg2(
        raw / "things_eeg2/sub-05/preprocessed_eeg_test.npy", ids, subject=5, montage=None
    )
    assert trials.responses.shape == (20 * 6, 32, 40)
    rows = np.flatnonzero(one.schedule.stimulus == 4)
    assert trials.responses[24:30] == pytest.approx(one.responses[rows], rel=1e-5)
    assert trials.tmin == pytest.approx(-0.05)


def random_embeddings(prepared) -> Embeddings:
    """A stand-in for a target: random projections of the true factors."""
    stimuli = layout.read_stimuli(prepared / "stimuli.h5")
    factors = np.stack([stimuli.table[n] for n in stimuli.table if n.startswith("factor_")], 1).astype(float)
    values = np.tanh(factors @ np.random.default_rng(0).standard_normal((factors.shape[1], 16)))
    return Embeddings(stimuli.ids, values[:, None].astype(np.float32), "stand-in", {}, "none")


@pytest.mark.parametrize("key", KEYS)
def test_ceilings_come_from_the_prepared_folder_and_fall_to_chance_when_trials_are_shuffled(made, key, rng):
    prepared = made[1]
    embeddings = random_embeddings(prepared)
    dataset = NeuralDataset.read(prepared)
    test, train = (dataset.part(p).trials[key] for p in ("test", "train"))
    found = truth.ceilings(prepared, test, train, embeddings)
    tops = [found[kind].top1 for kind in ("oracle_image", "oracle_linear", "oracle_n")]
    assert tops[0] >= tops[1] >= 0.3 and tops[2] > 0.15
    whole = test.take(np.arange(test.n_trials))
    shuffled = trials_like(whole, rng.permutation(20))
    null = truth.ceilings(prepared, shuffled, train, embeddings, kinds=("oracle_image", "oracle_linear"))
    assert max(c.top1 for c in null.values()) <= 0.25


def trials_like(trials, order):
    """The trials with the names of their pictures exchanged."""
    names = np.unique(trials.table["stimulus_id"])
    exchanged = dict(zip(names.tolist(), names[order].tolist(), strict=True))
    shown = np.array([exchanged[i] for i in trials.table["stimulus_id"].tolist()])
    return replace(trials, table=trials.table.replace(stimulus_id=shown))


def test_trials_without_files_have_the_ceilings_of_the_files(made):
    _, prepared, planted, _ = made
    embeddings = random_embeddings(prepared)
    one = planted.details["sub-01_fmri"]
    trials = trials_of(one, list(embeddings.ids))
    gallery = np.char.startswith(trials.table["stimulus_id"], "scene-0000") | np.char.startswith(
        trials.table["stimulus_id"], "scene-0001"
    )
    direct = truth.ceilings(
        prepared, trials.take(gallery), trials.take(~gallery), embeddings, kinds=("oracle_linear",)
    )
    dataset = NeuralDataset.read(prepared)
    filed = truth.ceilings(
        prepared, dataset.part("test").trials["sub-01_fmri"], dataset.part("train").trials["sub-01_fmri"],
        embeddings, kinds=("oracle_linear",),
    )  # fmt: skip
    assert direct["oracle_linear"].top1 == filed["oracle_linear"].top1


def test_the_same_seed_gives_the_same_files_and_another_one_others(tmp_path):
    synthetic = catalogue.load("simulated")["synthetic"]
    small = json.loads((catalogue.folder("simulated") / "world_smoke.json").read_text())
    (tmp_path / "one.json").write_text(
        json.dumps(small | {"n_reference": 60, "subjects": small["subjects"][1:2]})
    )
    first, again, other = (
        synthetic(tmp_path / str(i), world=tmp_path / "one.json", seed=seed).responses["sub-02_fmri"]
        for i, seed in enumerate((0, 0, 1))
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_nothing_is_fetched(tmp_path, capsys):
    assert catalogue.load("simulated")["fetch"](tmp_path / "raw") == []
    assert "nothing to fetch" in capsys.readouterr().out
    assert not (tmp_path / "raw").exists()


def test_an_inverse_crime_world_is_built_from_the_shipped_target_and_says_so(made, tmp_path):
    functions = catalogue.load("simulated")
    small = json.loads((catalogue.folder("simulated") / "world_smoke.json").read_text())
    crime = small | {"inverse_crime": True, "subjects": small["subjects"][:1]}
    (tmp_path / "crime.json").write_text(json.dumps(crime))
    planted = functions["synthetic"](tmp_path / "raw", world=tmp_path / "crime.json")
    functions["prepare"](tmp_path / "raw", tmp_path / "prepared")
    assert layout.read_manifest(tmp_path / "prepared")["inverse_crime"] is True
    assert layout.read_manifest(made[1])["inverse_crime"] is False
    usual = made[2].responses["sub-01_fmri"]
    assert not np.allclose(planted.responses["sub-01_fmri"], usual)
