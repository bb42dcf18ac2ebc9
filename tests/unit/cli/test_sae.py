"""`braindec sae`: fits, judges, looks into brains, and says what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braindec import cli
from braindec.checks import ConfigError
from braindec.data import NeuralDataset, catalogue
from braindec.evaluate import encode_features, inside_fitting
from braindec.sparse import saved


def braindec(*words):
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sae")
    made = catalogue.load("simulated")
    made["synthetic"](folder / "raw", world="smoke")
    made["prepare"](folder / "raw", folder / "data")
    return folder / "data"


def test_an_autoencoder_is_fitted_and_judged_beside_others(prepared, tmp_path, capsys):
    told = ("--target", "tiny_openclip", "--out", tmp_path)
    assert braindec("sae", "fit", prepared, *told, "--latents", 20, "--active", 3, "--steps", 60) == 0
    assert "latents active" in capsys.readouterr().out
    model = saved.load(tmp_path / "autoencoder")
    assert (model.n_latents, model.config.n_active) == (20, 3)
    assert braindec("sae", "judge", prepared, *told, "--subjects", "[1,2]", "--null", 19) == 0
    shown = capsys.readouterr().out
    assert "of the variance is left" in shown and "lie near enough to a word to be named" in shown
    run = json.loads((tmp_path / "judge" / "report.json").read_text())["run"]
    assert [row[0] for row in run["table"]] == ["this autoencoder", "pca", "ica", "nmf", "kmeans", "random"]
    compared = {(row[0], row[1]) for row in run["shared"]}
    assert compared >= {("this autoencoder", "another seed"), ("this autoencoder", "tiny_openclip!random")}
    assert ("sub-01 fmri", "sub-02 fmri") in compared
    assert ("sub-01 fmri, early", "sub-01 fmri, high") in {tuple(sorted(pair)) for pair in compared}
    page = (tmp_path / "judge" / "report.html").read_text()
    assert "What latents stand for" in page and "What latents have in common" in page


def test_words_of_a_file_name_latents_and_those_of_another_space_do_not(tmp_path, capsys):
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    values = directions[np.arange(120) % 12] + 0.05 * rng.standard_normal((120, 12))
    path, words, wrong = (tmp_path / f"{name}.npz" for name in ("embeddings", "words", "wrong"))
    np.savez(path, ids=np.array([f"s{i}" for i in range(120)]), values=values)
    np.savez(words, ids=np.array([f"word{i}" for i in range(12)]), values=directions)
    np.savez(wrong, ids=np.array(["a", "b"]), values=np.eye(2, 5))
    told = ("--out", tmp_path / "out")
    assert braindec("sae", "fit", path, *told, "--latents", 12, "--active", 1, "--steps", 200) == 0
    assert braindec("sae", "judge", path, *told, "--words", words, "--null", 19) == 0
    run = json.loads((tmp_path / "out" / "judge" / "report.json").read_text())["run"]
    assert len(run["names"]) >= 6 and all("word" in name for name in run["names"].values())
    capsys.readouterr()
    assert braindec("sae", "judge", path, *told, "--words", wrong) == cli.FAILED
    assert "both sides of one model" in capsys.readouterr().err
    assert braindec("sae", "judge", path, *told, "--beside", "pixels") == cli.FAILED
    assert "--beside needs pictures" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["a target", "a file of one's own"])
def test_latents_in_a_brain_are_reported_and_mapped(prepared, tmp_path, capsys, own):
    target = "tiny_openclip"
    if own:
        dataset = NeuralDataset.read(prepared)
        made = encode_features.feature_spaces([target], dataset, cache=tmp_path)[target]
        target = tmp_path / "mine.npz"
        np.savez(target, ids=np.array(made.ids), values=made.of(made.ids))
    told = ("--target", target, "--out", tmp_path)
    assert braindec("sae", "fit", prepared, *told, "--latents", 20, "--active", 3, "--steps", 60) == 0
    assert braindec("sae", "brain", prepared, *told, "--subjects", "[1]", "--null", 19) == 0
    shown = capsys.readouterr().out
    assert "are read better than any after permuting the stimuli" in shown
    scores = json.loads((tmp_path / "brain" / "report.json").read_text())["scores"]
    assert {row["system"] for row in scores} >= {"braindec", "shuffled"}
    assert (tmp_path / "brain" / "maps" / "sub-01_fmri_latents.h5").is_file()
    assert list((tmp_path / "brain" / "maps").glob("*.nii.gz"))


def test_a_file_of_embeddings_will_do(tmp_path, capsys):
    rng = np.random.default_rng(0)
    path = tmp_path / "embeddings.npz"
    np.savez(path, ids=np.array([f"s{i}" for i in range(80)]), values=rng.standard_normal((80, 12)))
    told = ("--out", tmp_path / "out")
    assert braindec("sae", "fit", path, *told, "--latents", 16, "--active", 2, "--steps", 30) == 0
    assert braindec("sae", "judge", path, *told) == 0
    assert "trained on 64 embeddings" in capsys.readouterr().out
    other = tmp_path / "other.npz"
    np.savez(other, ids=np.array(["a", "b", "c"]), values=rng.standard_normal((3, 12)))
    assert braindec("sae", "judge", other, *told) == cli.FAILED
    assert "braindec sae fit" in capsys.readouterr().err


def test_only_stimuli_that_it_was_not_trained_on_judge_it(prepared, tmp_path, capsys):
    dataset = NeuralDataset.read(prepared)
    made = encode_features.feature_spaces(["tiny_openclip"], dataset, cache=tmp_path)["tiny_openclip"]
    path = tmp_path / "own.npz"
    np.savez(path, ids=np.array(made.ids), values=made.of(made.ids))
    told = ("--latents", 12, "--active", 2, "--steps", 30, "--out", tmp_path)
    assert braindec("sae", "fit", path, *told) == 0  # no split: a fifth of all is left out
    cfg = tmp_path / "autoencoder" / "cfg.json"
    about = json.loads(cfg.read_text())
    held_out = set(dataset.part("test").stimulus_ids)
    unseen = held_out - set(about["metadata"]["braindec_inside"]["trained_on"])
    assert 2 <= len(unseen) < len(held_out)
    judge = ("sae", "judge", prepared, "--target", path, "--subjects", "[1]", "--null", 9, "--out", tmp_path)
    capsys.readouterr()
    assert braindec(*judge) == 0
    said = f"of {len(unseen)} embeddings that it was not trained on ({len(held_out - unseen)} more of the test part"
    assert said in capsys.readouterr().out
    del about["metadata"]["braindec_inside"]["trained_on"]  # one that was saved without
    cfg.write_text(json.dumps(about))
    assert braindec(*judge) == 0
    assert "embeddings that it may have been trained on (its folder does not say)" in capsys.readouterr().out


def test_what_was_trained_on_is_never_judged_on():
    ids = [f"s{i}" for i in range(20)]
    embeddings = inside_fitting.embeddings_of(ids, np.eye(20), "file x.npz")
    drawn = inside_fitting.parts(embeddings, 0)
    assert inside_fitting.parts(embeddings, 0, trained_on=drawn[0]) == drawn
    train, test = inside_fitting.parts(embeddings, 0, trained_on=ids[:15])
    assert (train, test) == (tuple(ids[:15]), tuple(ids[15:]))
    with pytest.raises(ConfigError, match=r"trained on 4 of the 4 stimuli .* braindec sae fit DIR"):
        inside_fitting.parts(embeddings, 0, trained_on=ids)


def test_another_file_of_the_same_name_is_refused_or_warned_of(tmp_path, capsys):
    rng = np.random.default_rng(0)
    ids, values = np.array([f"s{i}" for i in range(80)]), rng.standard_normal((80, 12))
    paths = [tmp_path / folder / "clip.npz" for folder in ("A", "B", "C", "D")]
    written = (
        (ids, values),
        (ids, rng.standard_normal((80, 12))),
        (ids[::-1], values[::-1]),
        (ids[:40], values[:40]),
    )
    for path, (names, rows) in zip(paths, written, strict=True):
        path.parent.mkdir()
        np.savez(path, ids=names, values=rows)
    told = ("--out", tmp_path / "out")
    assert braindec("sae", "fit", paths[0], *told, "--latents", 16, "--active", 2, "--steps", 30) == 0
    assert braindec("sae", "judge", paths[1], *told) == cli.FAILED
    assert "64 stimuli that it was trained on have other values" in capsys.readouterr().err
    assert braindec("sae", "judge", paths[2], *told) == 0  # the same in another order
    with pytest.warns(UserWarning, match="holds only if the same model made both"):
        braindec("sae", "judge", paths[3], *told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ft", "."], "Did you mean 'fit'?"),
        (["fit", "."], "--target must say what embeds the pictures"),
        (["fit", ".", "--target", "tiny_openclp"], "Did you mean 'tiny_openclip'?"),
        (["judge", "/nowhere.npz"], "does not exist"),
        (["brain", "/nowhere.npz"], "does not exist"),
        (["brain", ".", "--target", "tiny_openclip", "--null", "3"], "null must be at least 19"),
    ],
)
def test_a_slip_is_told_in_one_line(capsys, words, said):
    assert braindec("sae", *words) == cli.FAILED
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1
