"""Subjects meet in one space: by training stimuli that all saw, on held-out rows, and not where they share nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.data import NeuralDataset, Split, leakage, mean_responses, unit_steps
from braindec.data.alignment import stimuli_of
from braindec.data.preprocessing import (
    AlignProcrustes,
    AlignShared,
    FittedPreprocessing,
    Pca,
    Preprocessing,
    Standardise,
    fit_together,
)
from braindec.types import ArraySpace, StimulusSet, Table, Trials

N_STIMULI, N_TRAIN, K = 80, 50, 5
IDS = np.array([f"s{i:03d}" for i in range(N_STIMULI)])
SPLIT = Split("stimuli", "stimulus", {"train": tuple(IDS[:N_TRAIN]), "test": tuple(IDS[N_TRAIN:])})
CHAINS = {
    "probabilistic": (AlignShared(K),),
    "deterministic": (Standardise(scale=False), AlignShared(K, model="deterministic")),
    "procrustes": (Pca(K), AlignProcrustes()),
}


def subject(number, shared, n_features, noise=0.5, order=None, times=None) -> Trials:
    """Two repeats of each stimulus: the shared response through a subject's own random basis, with noise."""
    rng = np.random.default_rng(100 + number)
    basis = np.linalg.qr(rng.standard_normal((n_features, K)))[0]
    shown = np.tile(np.arange(N_STIMULI) if order is None else order, 2)
    clean = np.einsum("fk,nk...->nf...", basis, shared[shown])
    values = 10.0 + clean + noise * rng.standard_normal(clean.shape)
    n = len(shown)
    columns = {"stimulus_id": IDS[shown], "session": np.full(n, "1"), "run": np.full(n, "1"),
               "repeat": np.repeat([0, 1], N_STIMULI), "onset_s": np.arange(n) * 1.0, "acquisition_order": np.arange(n),
               "exchangeability_block": np.full(n, "1")}  # fmt: skip
    clock = {} if times is None else {"sfreq": 100.0, "tmin": 0.0}
    modality = "fmri" if times is None else "eeg"
    return Trials(
        values.astype(np.float32), Table(columns), ArraySpace(n_features), "a.u.", number, modality, **clock
    )


def world(sizes=(30, 24, 40), times=None) -> NeuralDataset:
    rng = np.random.default_rng(0)
    shape = (N_STIMULI, K) if times is None else (N_STIMULI, K, times)
    shared = rng.standard_normal(shape) * np.linspace(2, 1, K).reshape(K, *[1] * (len(shape) - 2))
    trials = [
        subject(i + 1, shared, n, order=rng.permutation(N_STIMULI), times=times) for i, n in enumerate(sizes)
    ]
    return NeuralDataset.from_trials(trials, StimulusSet(tuple(IDS.tolist()), "none"), SPLIT)


def fitted(steps, dataset):
    part = dataset.part("train")
    found = fit_together({key: Preprocessing(steps) for key in part.keys}, part.trials)
    return {key: chain for key, (chain, _) in found.items()}


def agreement(chains, dataset) -> float:
    """Share of held-out stimuli whose response in one subject is nearest to that to the same stimulus in another."""
    means = []
    for key, trials in dataset.part("test").trials.items():
        x = chains[key].apply(trials).reshape(trials.n_trials, -1)
        means.append(np.stack([x[trials.table["stimulus_id"] == i].mean(0) for i in IDS[N_TRAIN:]]))
    hits = []
    for a in range(len(means)):
        for b in range(len(means)):
            if a != b:
                similar = np.corrcoef(means[a], means[b])[: len(means[a]), len(means[a]) :]
                hits.append((similar.argmax(1) == np.arange(len(similar))).mean())
    return float(np.mean(hits))


@pytest.mark.parametrize("name", CHAINS)
def test_held_out_stimuli_look_alike_in_all_subjects_once_they_are_aligned(name):
    dataset = world()
    assert agreement(fitted(CHAINS[name], dataset), dataset) > 0.7
    alone = {k: Preprocessing((Pca(K),)).fit(t) for k, t in dataset.part("train").trials.items()}
    assert agreement(alone, dataset) < 0.4


@pytest.mark.parametrize("name", CHAINS)
def test_subjects_whose_stimuli_are_mixed_up_stay_at_chance(name, rng):
    dataset = world()
    trials = {k: replace(t, table=t.table.replace(stimulus_id=rng.permutation(t.table["stimulus_id"])))
              for k, t in dataset.part("train").trials.items()}  # fmt: skip
    found = fit_together({k: Preprocessing(CHAINS[name]) for k in trials}, trials)
    assert agreement({k: chain for k, (chain, _) in found.items()}, dataset) < 0.2  # 1/30 by chance


def test_channels_are_aligned_with_their_times():
    dataset = world((8, 9, 7), times=12)
    chains = fitted((AlignShared(K),), dataset)
    (first, *_) = chains.values()
    assert first.signal.shape == (K, 12) and first.signal.sfreq == 100.0
    assert agreement(chains, dataset) > 0.9


def test_held_out_rows_do_not_move_the_alignment():
    dataset = world()
    spoiled = [
        replace(
            t, responses=np.where(np.isin(t.table["stimulus_id"], IDS[N_TRAIN:])[:, None], 1e3, t.responses)
        )
        for t in dataset.trials.values()
    ]
    other = NeuralDataset.from_trials(spoiled, dataset.stimuli, SPLIT)
    before, after = fitted(CHAINS["probabilistic"], dataset), fitted(CHAINS["probabilistic"], other)
    for key in before:
        assert np.array_equal(before[key].states[0]["basis"], after[key].states[0]["basis"])
        assert stimuli_of(before[key].states[0]).tolist() == IDS[:N_TRAIN].tolist()


def test_an_alignment_on_test_rows_of_another_subject_is_a_leak():
    """Subject 1 is fitted on its training trials, but was aligned on all trials of subject 2."""
    dataset = world()
    train, test = dataset.part("train"), dataset.part("test")
    honest = fitted(CHAINS["probabilistic"], dataset)
    leakage.check_fitted(train, test, honest, {})
    trials = dict(train.trials) | {"sub-02_fmri": dataset.trials["sub-02_fmri"]}
    found = fit_together({k: Preprocessing(CHAINS["probabilistic"]) for k in trials}, trials)
    leaking = honest | {"sub-01_fmri": found["sub-01_fmri"][0]}
    with pytest.raises(checks.LeakageError, match="60 of 60 test trials"):
        leakage.check_fitted(train, test, leaking, {})


@pytest.mark.parametrize("name", CHAINS)
def test_a_subject_that_comes_later_is_brought_into_the_space_which_stays(name):
    dataset = world((30, 24, 40, 26))
    part = dataset.part("train")
    keys = list(part.keys)
    steps = Preprocessing(CHAINS[name])
    first = fit_together(dict.fromkeys(keys[:3], steps), {k: part.trials[k] for k in keys[:3]})
    chains = {k: chain for k, (chain, _) in first.items()}
    newcomer = {keys[3]: part.trials[keys[3]]}
    found = fit_together({keys[3]: steps}, newcomer, reference={"fmri": chains[keys[0]]})
    everybody = chains | {keys[3]: found[keys[3]][0]}
    assert agreement(everybody, dataset) > 0.7
    strangers = part.trials[keys[3]].table.replace(stimulus_id=np.full(2 * N_TRAIN, "other"))
    with pytest.raises(ValueError, match="fitted subjects were aligned on"):
        fit_together({keys[3]: steps}, {keys[3]: replace(newcomer[keys[3]], table=strangers)},
                     reference={"fmri": chains[keys[0]]})  # fmt: skip


def test_subjects_without_a_common_stimulus_or_with_other_sizes_are_refused():
    dataset = world()
    one, two, _ = dataset.trials.values()
    apart = {one.key: one.take(np.isin(one.table["stimulus_id"], IDS[:40])),
             two.key: two.take(np.isin(two.table["stimulus_id"], IDS[40:]))}  # fmt: skip
    with pytest.raises(ValueError, match="0 stimuli in common"):
        fit_together({k: Preprocessing((AlignShared(2),)) for k in apart}, apart)
    with pytest.raises(ValueError, match="put Pca"):
        fitted((AlignProcrustes(),), dataset)


def test_an_aligned_subject_is_saved_bit_for_bit():
    dataset = world()
    for key, chain in fitted(CHAINS["procrustes"], dataset).items():
        again = FittedPreprocessing.from_arrays(chain.config, chain.to_arrays())
        assert np.array_equal(again.apply(dataset.trials[key]), chain.apply(dataset.trials[key]))
        assert np.array_equal(again.aligned_rows, chain.aligned_rows) and len(chain.aligned_rows) == 300


def test_one_subject_alone_has_its_principal_components():
    trials = world().part("train").trials["sub-01_fmri"]
    x = Preprocessing((AlignShared(K, model="deterministic"),)).fit(trials).apply(trials)
    expected = Preprocessing((Pca(K),)).fit(trials).apply(trials)
    angles = np.linalg.svd(np.linalg.qr(x - x.mean(0))[0].T @ np.linalg.qr(expected)[0])[1]
    assert angles.min() > 0.95  # of means over repeats, so not the very same


def invariants(chains):
    """Of each pair of subjects what takes one's features to the other's, and each one's view of what is shared."""
    states = {key: chain.states[-1] for key, chain in chains.items()}
    bases = [s["basis"].astype(np.float64) for s in states.values()]
    views = [b @ s["shared"] for b, s in zip(bases, states.values(), strict=True)]
    return [a @ b.T for a in bases for b in bases] + views


LARGE = {
    "features, probabilistic": ((AlignShared(K),), (60, 130, 90), None, 60_000),
    "features, deterministic": ((AlignShared(K, model="deterministic"),), (60, 130, 90), None, 60_000),
    "samples, probabilistic": ((AlignShared(3),), (8, 9, 7), 12, 40_000),
    "samples, deterministic": ((AlignShared(3, model="deterministic"),), (8, 9, 7), 12, 40_000),
    "samples, procrustes": ((AlignProcrustes(scaling=True),), (8, 8, 8), 12, 40_000),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("block", [1 << 12, 64 << 20])
def test_responses_that_do_not_fit_are_aligned_as_if_they_did(name, block, monkeypatch):
    steps, sizes, times, limit = LARGE[name]
    dataset = world(sizes, times)
    whole = invariants(fitted(steps, dataset))
    monkeypatch.setattr(mean_responses, "MAX_BYTES", limit)
    for module in (mean_responses, unit_steps):
        monkeypatch.setattr(module, "BLOCK_BYTES", block)
    monkeypatch.setattr(mean_responses.MeanResponses, "whole", _in_parts_only)
    found = invariants(fitted(steps, dataset))
    for a, b in zip(found, whole, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * np.abs(b).max())


def _in_parts_only(self):
    if self.shape[0] > self.shape[1]:
        raise AssertionError("all of it was made at once")
    return torch.cat([part for _, part in self.parts()])


@pytest.mark.parametrize("model", ["probabilistic", "deterministic"])
def test_what_is_too_large_whichever_way_is_shared_by_passing_over_it(model, monkeypatch):
    steps, dataset = (AlignShared(K, model=model),), world((60, 70, 65))
    whole = invariants(fitted(steps, dataset))
    monkeypatch.setattr(mean_responses, "MAX_BYTES", 30_000)
    monkeypatch.setattr(mean_responses, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(unit_steps, "BLOCK_BYTES", 1 << 12)
    for held in ("whole", "triangle"):
        monkeypatch.setattr(mean_responses.MeanResponses, held, _never)
    found = invariants(fitted(steps, dataset))
    for a, b in zip(found, whole, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4 * np.abs(b).max())


def _never(self):
    raise AssertionError("all of it was made at once")


def test_rotations_that_do_not_fit_are_refused_with_their_size_and_what_fits(monkeypatch):
    dataset = world((60, 60, 60))
    for name in ("MAX_BYTES", "MAX_ROTATIONS"):
        with monkeypatch.context() as patched:
            patched.setattr(mean_responses, name, 30_000)
            with pytest.raises(
                checks.ConfigError, match=r"Pca before the alignment \((\d+) features each fit"
            ) as error:
                fitted((AlignProcrustes(),), dataset)
            n = int(str(error.value).split("alignment (")[1].split()[0])
            fitted((Pca(n), AlignProcrustes()), dataset)  # as promised
            with pytest.raises(checks.ConfigError):
                fitted((Pca(n + 1), AlignProcrustes()), dataset)


def test_of_long_epochs_some_stimuli_are_kept_for_subjects_that_come_later(monkeypatch):
    dataset = world((8, 9, 7), times=12)
    key = dataset.keys[0]
    every = fitted((AlignShared(5),), dataset)[key].states[-1]
    monkeypatch.setattr(mean_responses, "SHARED_BYTES", 8 * 5 * 12 * 20)
    for limit in (mean_responses.MAX_BYTES, 40_000):  # held, and by their moments
        monkeypatch.setattr(mean_responses, "MAX_BYTES", limit)
        some = fitted((AlignShared(5),), dataset)[key].states[-1]
        names, kept = stimuli_of(every), stimuli_of(some)
        assert len(kept) == 20 and some["shared"].shape == (5, 20 * 12)
        view = every["shared"].reshape(5, -1, 12)[:, np.isin(names, kept)].reshape(5, -1)
        expected, found = (s["basis"] @ v for s, v in ((every, view), (some, some["shared"])))
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
