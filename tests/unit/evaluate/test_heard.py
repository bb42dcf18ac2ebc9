"""Clips read, embedded by windows and retrieved: genres of what is found, against definitions and at chance."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from braindec import checks
from braindec.data import NeuralDataset, catalogue
from braindec.evaluate import heard, heard_sounds
from braindec.evaluate.heard_sounds import Clips, Gallery, Listening, Windowed
from braindec.targets import mel
from braindec.types import Embeddings

SFREQ = 1000.0
LISTENING = Listening(sfreq=SFREQ, fade_s=2.0, window_s=5.0, step_s=5.0)
MEL = mel.Config(n_bands=8, rate=0.2, n_times=1, window_s=5.0, sfreq=SFREQ)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Raw folder with tracks, prepared folder, truth."""
    base = tmp_path_factory.mktemp("music")
    functions = catalogue.load("nakai2022")
    truth = functions["synthetic"](base / "raw", n_voxels=4, music=True)
    functions["prepare"](base / "raw", base / "prepared")
    return base / "raw" / "ds003720", base / "prepared", truth


@pytest.fixture(scope="module")
def dataset(music):
    return heard_sounds.with_music(NeuralDataset.read(music[1]), "../raw/ds003720", music[1], LISTENING)


@pytest.fixture(scope="module")
def loudness(music, dataset):
    """What `synthetic` drew, as an embedding."""
    values = []
    for i in dataset.stimulus_ids:
        genre, track = i.split("@")[0].split(".")
        values.append(music[2].details["loudness"][genre, int(track)])
    return Embeddings.from_arrays(dataset.stimulus_ids, np.array(values), "loudness")


def found_in(gallery_genres, similarity, genres):
    n = len(gallery_genres)
    gallery = Gallery(
        tuple(map(str, range(n))), np.array(gallery_genres), np.zeros((n, 1, 1)), list, "made up"
    )
    ids = tuple(f"clip {i}" for i in range(len(genres)))
    return heard.Retrieved(ids, np.array(genres), torch.tensor(similarity), gallery)


def test_agreement_is_the_share_of_the_nearest_that_have_the_presented_genre():
    one = found_in(["a", "a", "b", "c"], [[0.1, 0.9, 0.8, 0.0], [0.3, 0.2, 0.1, 0.9]], ["a", "b"])
    assert one.first.tolist() == [1, 3]
    assert one.agreement(1).tolist() == [1.0, 0.0]
    assert one.agreement(2).tolist() == [0.5, 0.0]  # clips 1 and 2; clips 3 and 0
    assert one.agreement(4).tolist() == [0.5, 0.25]
    assert one.chance == pytest.approx((2 / 4 + 1 / 4) / 2)
    with pytest.raises(ValueError, match="k"):
        one.agreement(5)


def test_what_knows_nothing_agrees_at_the_stated_chance_of_an_uneven_gallery(rng):
    gallery = rng.choice(["a", "b", "c"], 200, p=[0.7, 0.2, 0.1])
    one = found_in(gallery, rng.random((4000, 200)), rng.choice(["a", "b", "c"], 4000, p=[0.5, 0.3, 0.2]))
    for k in (1, 10):
        assert one.agreement(k).mean() == pytest.approx(one.chance, abs=0.025)


def test_a_gallery_is_ordered_by_the_cosine_about_the_training_mean(dataset, loudness):
    train, test = dataset.part("train"), dataset.part("test")
    gallery = heard_sounds.gallery(None, dataset, loudness, ".", LISTENING)
    mean = loudness.of(train.stimulus_ids).mean(0)
    ids = test.stimulus_ids
    truth = torch.from_numpy(loudness.of(ids) - mean).flatten(1)
    decoded = SimpleNamespace(ids=ids, prediction=truth)
    one = heard.retrieve(decoded, dataset, gallery, mean)
    for i in (0, 7):
        a = loudness.of([ids[i]]).ravel() - mean.ravel()
        b = loudness.of(gallery.ids).reshape(len(gallery.ids), -1) - mean.ravel()
        cosine = b @ a / np.linalg.norm(a) / np.linalg.norm(b, axis=1)
        np.testing.assert_allclose(one.similarity[i].numpy(), cosine, atol=1e-5)
    assert one.genres.tolist() == [i.split(".")[0] for i in ids]
    assert one.agreement(1).mean() > 0.4 > 2 * one.chance  # tracks of a genre are alike, as planted
    other = SimpleNamespace(ids=ids, prediction=truth[torch.randperm(60, generator=torch.manual_seed(0))])
    assert heard.retrieve(other, dataset, gallery, mean).agreement(10).mean() < 0.25


def test_no_track_of_a_test_clip_is_in_the_gallery(dataset, loudness):
    gallery = heard_sounds.gallery(None, dataset, loudness, ".", LISTENING)
    assert len(gallery.ids) == 480 and set(gallery.ids) == set(dataset.part("train").stimulus_ids)
    table = dataset.stimuli.table
    wav = np.where(table["wav"] == table["wav"][0], dataset.stimuli.table["wav"][-1], table["wav"])
    stimuli = heard_sounds.replace(dataset.stimuli, table=table.replace(wav=wav))  # one track in both parts
    shared = heard_sounds.replace(dataset, stimuli=stimuli)
    assert len(heard_sounds.gallery(None, shared, loudness, ".", LISTENING).ids) == 479


def test_a_clip_is_what_its_file_holds_from_its_onset_on(music, dataset):
    name = dataset.part("test").stimulus_ids[3]
    row = list(dataset.stimuli.ids).index(name)
    wav, onset = dataset.stimuli.table["wav"][row], dataset.stimuli.table["onset_s"][row]
    rate, values = wavfile.read(music[0] / wav)
    start = round(onset * rate)
    ((samples, sfreq),) = dataset.stimuli.read([name])
    assert (sfreq, len(samples)) == (rate, 15 * rate)
    inside = slice(2 * rate, 13 * rate)
    np.testing.assert_allclose(samples[inside], values[start : start + 15 * rate][inside] / 32768, atol=1e-6)


def test_a_clip_rises_and_falls_in_straight_lines():
    factor = heard_sounds.faded(100, 10)
    np.testing.assert_allclose(factor[:3], [0.05, 0.15, 0.25], atol=1e-6)
    np.testing.assert_array_equal(factor[10:90], 1.0)
    np.testing.assert_array_equal(factor, factor[::-1])
    np.testing.assert_array_equal(heard_sounds.faded(10, 0), 1.0)


def test_a_file_that_ends_too_early_is_refused_and_a_little_is_silent(tmp_path):
    wavfile.write(tmp_path / "a.wav", 1000, np.full(9_800, 8000, np.int16))
    clips = Clips(tmp_path, {"near": ("a.wav", 5.0, 5.0), "far": ("a.wav", 8.0, 5.0)}, SFREQ)
    ((samples, _),) = clips(["near"])
    assert len(samples) == 5000 and (samples[:4800] > 0).all() and (samples[4800:] == 0).all()
    with pytest.raises(checks.DataFileError, match=r"a\.wav: lasts 9\.8 s"):
        clips(["far"])


def test_an_embedding_is_the_mean_over_whole_windows(rng):
    target = mel.build(MEL)
    windowed = Windowed(target, 5.0, 3.0)
    sound = rng.uniform(-0.5, 0.5, 13_900).astype(np.float32)
    each = target.embed_audio(
        [(sound[a : a + 5000], SFREQ) for a in (0, 3000, 6000)]
    )  # the next would end at 14 s
    np.testing.assert_allclose(windowed.embed_audio([(sound, SFREQ)])[0], each.mean(0), rtol=1e-5)
    assert windowed.space != Windowed(target, 5.0, 5.0).space != target.space
    with pytest.raises(ValueError, match="samples of a sound"):
        windowed.embed_audio([(sound[:4000], SFREQ)])


def test_a_folder_of_other_music_is_a_gallery_by_its_folders(tmp_path, music, dataset, loudness):
    tested = dataset.stimuli.table["wav"][
        list(dataset.stimuli.ids).index(dataset.part("test").stimulus_ids[0])
    ]
    for name in ("polka/one.wav", "polka/two.wav", "jazz/three.wav", f"jazz/{tested.split('/')[-1]}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        values = np.random.default_rng(len(name)).integers(-9000, 9000, 20_000)
        wavfile.write(tmp_path / name, 1000, values.astype(np.int16))
    recipe = SimpleNamespace(target=MEL)
    gallery = heard_sounds.gallery(recipe, dataset, loudness, tmp_path, LISTENING, tmp_path)
    assert gallery.ids == (
        "jazz/three.wav",
        "polka/one.wav",
        "polka/two.wav",
    )  # without the track that is tested
    assert gallery.genres.tolist() == ["jazz", "polka", "polka"] and gallery.values.shape == (3, 1, 8)
    ((samples, _),) = gallery.read(["polka/one.wav"])
    _, values = wavfile.read(tmp_path / "polka" / "one.wav")
    np.testing.assert_allclose(samples, values[2500:17_500] / 32768, atol=1e-6)  # its middle
    with pytest.raises(FileNotFoundError, match="a gallery needs two"):
        heard_sounds.gallery(recipe, dataset, loudness, tmp_path, LISTENING, tmp_path / "polka")


def test_music_that_is_not_there_is_named_with_the_way_out(music, tmp_path):
    bare = NeuralDataset.read(music[1])
    with pytest.raises(FileNotFoundError, match=r"settings\.music=DIR"):
        heard_sounds.with_music(bare, "nowhere", music[1], LISTENING)
    with pytest.raises(FileNotFoundError, match=r"\.wav does not exist.*settings\.music=DIR"):
        heard_sounds.with_music(bare, tmp_path, music[1], LISTENING)


def test_other_music_of_the_same_names_has_another_hash(tmp_path):
    hashes = []
    for seed in (0, 0, 1):
        values = np.random.default_rng(seed).integers(-99, 99, 5000).astype(np.int16)
        wavfile.write(tmp_path / "a.wav", 1000, values)
        hashes.append(Clips(tmp_path, {"a": ("a.wav", 0.0, 5.0)}, SFREQ).content())
    assert hashes[0] == hashes[1] != hashes[2]
