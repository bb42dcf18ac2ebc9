"""A simulated MEG subject: files that the usual reader reads, ceilings, and a linear decoder above its null."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset, catalogue
from braindec.data.epoch_steps import AverageTime, Crop, Vectorise
from braindec.data.preprocessing import Preprocessing
from braindec.data.simulated import sensors, truth
from braindec.data.steps import Whiten
from braindec.maths.ridge import fit_ridge, ridge_predict
from braindec.targets import tiny_openclip
from braindec.types import Embeddings

KEY = "sub-01_meg"
STEPS = (Crop(0.0, 0.42), AverageTime(3), Vectorise(), Whiten(noise="repeats"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Raw folder, prepared folder, what was planted, and the target's embeddings of all pictures."""
    base = tmp_path_factory.mktemp("meg")
    functions = catalogue.load("simulated")
    planted = functions["synthetic"](base / "raw", world="meg")
    functions["prepare"](base / "raw", base / "prepared")
    target = tiny_openclip.build(tiny_openclip.Config())
    ids = NeuralDataset.read(base / "prepared").stimuli.ids
    values = target.embed_images(planted.details["stimuli"].images)
    return base / "raw", base / "prepared", planted, Embeddings(ids, values, "tiny_openclip", {}, "test")


def test_trials_are_the_planted_tesla_of_magnetometers_in_head_coordinates(made):
    _, prepared, planted, _ = made
    trials = NeuralDataset.read(prepared).trials[KEY]
    responses, one = np.asarray(trials.responses[np.arange(trials.n_trials)]), planted.details[KEY]
    assert (trials.modality, trials.units, set(trials.space.kinds)) == ("meg", "T", {"mag"})
    assert np.abs(responses - one.responses).max() <= 1e-6 * np.abs(one.responses).max()
    assert 1e-14 < responses.std() < 1e-12 and 1e-13 < np.abs(responses).max() < 1e-11
    assert trials.space.positions == pytest.approx(sensors.meg_helmet().space.positions, abs=1e-6)
    assert np.abs(responses.mean(1)).max() > 0.1 * responses.std()  # no average reference


def test_the_file_holds_magnetometers_with_orientations_in_a_helmet_that_is_not_the_head(made):
    import mne

    path = sorted((made[0] / "meg").glob("sub-01_ses-*_epo.fif"))[0]
    info = mne.read_epochs(path, preload=False, verbose="error").info
    assert info.get_channel_types(unique=True) == ["mag"] and not info["projs"]
    assert not np.allclose(info["dev_head_t"]["trans"], np.eye(4))
    frame = np.array([c["loc"][3:].reshape(3, 3) for c in info["chs"]])
    assert frame[:, 2] == pytest.approx(sensors.meg_helmet().normals, abs=1e-6)
    assert frame @ frame.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (40, 1, 1)), abs=1e-5)


def test_the_average_over_trials_rises_after_the_picture_and_not_before(made):
    _, prepared, planted, _ = made
    one = planted.details[KEY]
    trials = NeuralDataset.read(prepared).trials[KEY]
    responses = np.asarray(trials.responses[np.arange(trials.n_trials)], np.float64)
    power = (
        (responses.mean(0) ** 2).mean(0) * len(responses) / responses.var((0, 1))
    )  # 1 where there is noise alone
    times = one.brain.config.times
    assert power[times < 0.02].max() < 3 < power[(times > 0.08) & (times < 0.3)].mean()
    assert times[power.argmax()] == pytest.approx(0.17, abs=0.1)


def test_blinks_are_frontal_and_heartbeats_reach_the_whole_helmet(made):
    parts = {p.name: p for p in made[2].details[KEY].brain.parts}
    where = sensors.meg_helmet().space.positions
    blink, heart = (np.abs(parts[name].spatial[:, 0]) for name in ("blink", "heart"))
    assert where[blink.argmax(), 1] > 0.05
    assert (
        np.median(heart) > 2 * np.median(blink) * heart.max() / blink.max()
    )  # a distant source reaches all sensors


def test_a_linear_decoder_finds_pictures_above_its_shuffled_null_and_below_its_ceiling(made):
    _, prepared, _, embeddings = made
    dataset = NeuralDataset.read(prepared)
    train, test = (dataset.part(part).trials[KEY] for part in ("train", "test"))
    fitted, x = Preprocessing(STEPS).fit_apply(train)
    queries, shown = _averages(fitted.apply(test), test)
    gallery = embeddings.of(shown).reshape(len(shown), -1)
    ceilings = truth.ceilings(prepared, test, train, embeddings)

    def top1(ids: np.ndarray) -> float:
        y = embeddings.of(ids.tolist()).reshape(len(ids), -1)
        fit = fit_ridge(torch.from_numpy(x), torch.from_numpy(y), (300.0, 1000.0, 3000.0), "loo")
        found = ridge_predict(torch.from_numpy(queries), fit).numpy() - y.mean(0)
        centred = gallery - y.mean(0)
        cosine = (found @ centred.T) / np.linalg.norm(centred, axis=1)
        return float((cosine.argmax(1) == np.arange(len(shown))).mean())

    ids, rng = train.table["stimulus_id"], np.random.default_rng(0)
    names = np.unique(ids)
    null = []
    for _ in range(5):
        exchanged = dict(zip(names.tolist(), rng.permutation(names).tolist(), strict=True))
        null.append(top1(np.array([exchanged[i] for i in ids.tolist()])))
    assert max(null) + 0.1 < top1(ids) <= ceilings["oracle_linear"].top1 <= ceilings["oracle_image"].top1
    assert ceilings["oracle_n"].top1 > 0.5


def _averages(x: np.ndarray, trials) -> tuple[np.ndarray, list[str]]:
    """Means over the repeats of each picture, and the pictures."""
    shown = trials.table["stimulus_id"]
    names = np.unique(shown)
    return np.stack([x[shown == name].mean(0) for name in names]), names.tolist()
