"""The demo's world: what ideal observers of each subject reach in the shipped embedding."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data import catalogue
from braindec.data.simulated import simulate, stimuli, truth, world
from braindec.targets import tiny_openclip
from braindec.types import Embeddings, Trials


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder of the truth files, embeddings of all pictures, and each subject's trials by part."""
    folder = tmp_path_factory.mktemp("demo")
    chosen = world.load_world(catalogue.folder("simulated") / "world.json")
    seen = stimuli.draw_stimuli(chosen)
    ids = tuple(f"scene-{i:05d}" for i in range(chosen.n_stimuli))
    values = tiny_openclip.build(tiny_openclip.Config()).embed_images(seen.images, batch_size=128)
    trials: dict[str, tuple[Trials, Trials]] = {}
    for subject in chosen.subjects:
        one = simulate.simulate_subject(chosen, subject, seen)
        truth.write_truth(folder, one, seen, ids)
        every, gallery = simulate.trials_of(one, ids), one.schedule.stimulus < chosen.n_gallery
        trials[subject.key] = every.take(gallery), every.take(~gallery)
    return folder, Embeddings(ids, values, "tiny_openclip", {}, "test"), trials


@pytest.fixture(scope="module")
def tops(demo):
    """Top-1 retrieval of oracle_linear and oracle_n by subject."""
    folder, embeddings, trials = demo
    found = {}
    for key, (test, train) in trials.items():
        ceilings = truth.ceilings(folder, test, train, embeddings, kinds=("oracle_linear", "oracle_n"))
        found[key] = {kind: ceiling.top1 for kind, ceiling in ceilings.items()}
    return found


def test_the_best_linear_decoder_of_every_fmri_subject_is_neither_lost_nor_perfect(tops):
    for key in ("sub-01_fmri", "sub-02_fmri", "sub-03_fmri", "sub-04_fmri"):
        assert 0.6 <= tops[key]["oracle_linear"] <= 0.95, key


def test_the_best_linear_decoder_of_eeg_is_below_that_of_every_fmri_subject(tops):
    linear = {key: t["oracle_linear"] for key, t in tops.items()}
    eeg = linear.pop("sub-05_eeg")
    assert 0.2 <= eeg < min(linear.values())


def test_three_thousand_trials_nearly_suffice_and_three_hundred_do_not(tops):
    reached = {key: t["oracle_n"] / t["oracle_linear"] for key, t in tops.items()}
    assert min(reached[f"sub-0{s}_fmri"] for s in (1, 2, 3)) > 0.93 > reached["sub-04_fmri"]


def test_the_ceiling_is_at_chance_for_the_embeddings_of_other_pictures(demo):
    folder, embeddings, trials = demo
    other = np.random.default_rng(0).permutation(len(embeddings.ids))
    wrong = Embeddings(embeddings.ids, embeddings.values[other], "permuted", {}, "test")
    found = truth.ceilings(folder, *trials["sub-01_fmri"], wrong, kinds=("oracle_linear",))
    assert found["oracle_linear"].top1 <= 0.03  # chance is 1 in 200
