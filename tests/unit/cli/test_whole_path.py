"""run, evaluate, decode and report on one small planted dataset: what a user does after preparing."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from braindec import cli, evaluate, headers, recipe, report, store
from braindec.cli import _show
from braindec.data import NeuralDataset, Split, layout
from braindec.decoder import BrainDecoder
from braindec.types import ArraySpace, Table, Trials

TOY = '''"""Toy: pixels from planted responses."""
from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import pixels
from braindec.train import Config
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("planted"), target=pixels.Config(height=4, width=4), adapter=linear_adapter.Config(shared_dim=16),
    backbone=linear.Config(), loss=mse.Config(), protocol="heldout_stimuli", preprocessing=(Standardise(),),
    train=Config(n_steps=5, batch_size=32, device="cpu"), plan=evaluate.Plan(1, 1, False),
)
SMOKE = ("train.n_steps=1",)


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, progress=False)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(dataset.part("train"), embeddings, progress=False)
    found = evaluate.held_out(decoder, recipe, dataset, embeddings, plan=recipe.plan)
    made = Report(found.scores, found.record)
    decoder.save_pretrained(out_dir, made)
    return made
'''


# Judged by cross-validation, then fitted on everything: what can be said of the decoder that is saved?
FOLDS = (
    TOY.replace("Toy:", "Folds:")
    .replace(
        """    decoder.fit(dataset.part("train"), embeddings, progress=False)
    found = evaluate.held_out(decoder, recipe, dataset, embeddings, plan=recipe.plan)
""",
        """    decoder.fit(dataset, embeddings, progress=False)
    folds = splits.k_fold(dataset, "stimulus", 2, np.random.default_rng(0))
    found = evaluate.cross_validate(recipe, dataset, embeddings, folds, plan=recipe.plan, label_column="kind")
""",
    )
    .replace(
        'protocol="heldout_stimuli"',
        'protocol="heldout_stimuli_folds", generator=pictures.Config("pixels/4x4/gray"), label_column="kind"',
    )
)
FOLDS = FOLDS.replace(
    "from braindec import evaluate\n",
    """import numpy as np
from braindec import evaluate
from braindec.data import splits
from braindec.generators import pixels as pictures
""",
)


# Embeddings of one's own where RECIPE.target says pixels, and a decoder in a folder of its own.
OWN = (
    TOY.replace("Toy:", "Own:")
    .replace(
        "    embeddings = recipe.embed(dataset, data_dir, progress=False)\n",
        """    found = recipe.embed(dataset, data_dir, progress=False)
    embeddings = Embeddings.from_arrays(found.ids, found.values[:][:, :, ::-1], "mine")
""",
    )
    .replace("save_pretrained(out_dir, made)", 'save_pretrained(out_dir / "decoder", made)')
    .replace("import Report\n", "import Embeddings, Report\n")
)


def planted(folder, seed, session):
    """120 pictures of 4x4 pixels, seen once each by one subject whose voxels are noisy mixtures of the pixels."""
    mixing = np.random.default_rng(0).standard_normal((16, 40))
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (120, 4, 4), dtype=np.uint8)
    ids = [f"picture-{seed}-{i:03d}" for i in range(120)]
    signal = (pictures.reshape(120, 16) / 255.0 - 0.5) @ mixing
    n = np.arange(120)
    table = Table(
        {
            "stimulus_id": np.array(ids),
            "session": np.full(120, session),
            "run": n // 30,
            "repeat": np.zeros(120, int),
            "onset_s": 3.0 * (n % 30),
            "acquisition_order": n,
            "exchangeability_block": np.ones(120, int),
        }
    )
    responses = (signal + 0.3 * rng.standard_normal(signal.shape)).astype(np.float32)
    written = layout.write_trials(folder, Trials(responses, table, ArraySpace(40), "a.u.", 1, "fmri"))
    layout.write_stimuli(
        folder, ids, kind="image", images=np.repeat(pictures[..., None], 3, axis=3),
        table=Table({"kind": rng.choice(["smooth", "rough"], 120)}),
    )  # fmt: skip
    split = Split("default", "stimulus", {"train": tuple(ids[:90]), "test": tuple(ids[90:])})
    layout.write_manifest(folder, name="planted", licence="CC0", source="test", splits={"default": split},
                          recordings=[written])  # fmt: skip
    assert NeuralDataset.read(folder).n_trials == 120
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("prepared"), seed=1, session=1)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """New pictures in a second session of the same subject."""
    return planted(tmp_path_factory.mktemp("other"), seed=2, session=2)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A recipe `toy` among the recipes."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    (folder / "folds.py").write_text(FOLDS)
    (folder / "own.py").write_text(OWN)
    monkeypatch.setattr(headers, "folder", lambda: folder)
    monkeypatch.setattr(recipe, "folder", lambda: folder)
    monkeypatch.setattr(_show, "_beside", lambda kind: folder)
    return folder


def test_run_then_evaluate_then_decode_then_report(prepared, toy, tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["run", "toy", "--data", str(prepared), "--out", str(out), "--set", "seed=3"]) == 0
    assert "image_retrieval_top1" in capsys.readouterr().out
    first = report.read(out)
    assert first.run["recipe"] == "toy" and first.run["config"]["seed"] == 3
    top1 = first.score("image_retrieval_top1")
    assert top1.value > 0.5 > 10 * top1.chance

    assert cli.main(["evaluate", str(out), "--data", str(prepared)]) == 0
    again = report.read(out / "evaluation").score("image_retrieval_top1")
    np.testing.assert_array_equal(again.per_sample, top1.per_sample)
    capsys.readouterr()

    decoded = tmp_path / "decoded.h5"
    words = [
        "decode",
        str(out),
        str(prepared / "sub-01_fmri.h5"),
        "--out",
        str(decoded),
        "--data",
        str(prepared),
        "--k",
        "2",
    ]
    assert cli.main(words) == 0
    assert store.Stored(decoded).rows("embeddings").shape == (120, 1, 16)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 121 and lines[0].startswith("120 embeddings of pixels/4x4/gray")
    with decoded.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 240 and [r["rank"] for r in rows[:2]] == ["1", "2"]
    first = [r for r in rows if r["rank"] == "1"]
    assert np.mean([r["retrieved"] == r["stimulus_id"] for r in first]) > 0.5
    assert all(
        float(a["similarity"]) >= float(b["similarity"]) for a, b in zip(rows[::2], rows[1::2], strict=True)
    )

    (out / "report.html").unlink()
    assert cli.main(["report", str(out)]) == 0
    assert (out / "report.html").is_file()


def test_a_decoder_fitted_on_everything_is_not_judged_on_it_but_its_folds_scores_are_shown(
    prepared, other, toy, tmp_path, capsys
):
    out = tmp_path / "run"
    assert (
        cli.main(["run", "folds", "--data", str(prepared), "--out", str(out), "--set", "train.n_steps=0"])
        == 0
    )
    capsys.readouterr()
    measured = report.read(out).score("pairwise_identification").value

    for words in (["evaluate", str(out), "--data", str(prepared)], ["evaluate", str(out)]):
        assert cli.main(words) == 0
        shown = capsys.readouterr().out
        assert "fitted without the trials they were scored on (2 folds)" in shown
        assert f"{measured:.3f}" in shown
        assert ("a held-out score of it cannot exist on these data" in shown) == ("--data" in words)
    assert not (out / "evaluation").exists()

    assert cli.main(["evaluate", str(out), "--data", str(other), "--out", str(tmp_path / "new")]) == 0
    assert "All trials are new to the decoder" in capsys.readouterr().out
    found = report.read(tmp_path / "new").score("pairwise_identification")
    assert found.n == 120 and found.null_n == 0 and found.p is None
    assert found.value > 0.9

    assert (
        cli.main(
            [
                "decode",
                str(out),
                str(other / "sub-01_fmri.h5"),
                "--out",
                str(tmp_path / "new.h5"),
                "--pictures",
            ]
        )
        == 0
    )
    drawn = sorted(path.name for path in (tmp_path / "new_pictures").iterdir())
    assert len(drawn) == 121 and drawn[0] == "00000_picture-2-000.png" and drawn[-1] == "contact_sheet.png"
    pixels = np.stack([np.asarray(Image.open(tmp_path / "new_pictures" / name)) for name in drawn[:-1]])
    presented = np.stack(list(NeuralDataset.read(other).stimuli.images([name[6:-4] for name in drawn[:-1]])))
    assert np.corrcoef(pixels.ravel(), presented.ravel())[0, 1] > 0.8


def test_a_decoder_that_saw_some_of_the_trials_is_not_judged_on_them(prepared, toy, tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["run", "toy", "--data", str(prepared), "--out", str(out)]) == 0
    dataset = NeuralDataset.read(prepared)
    decoder = BrainDecoder.from_pretrained(out)
    assert evaluate.seen_trials(decoder, dataset) == {"sub-01_fmri": evaluate.Seen(90, 120)}
    assert evaluate.fitted_on(decoder, dataset.part("train"))
    embeddings = recipe.load("toy").recipe.embed(dataset, prepared, progress=False)
    with pytest.raises(ValueError, match="90 of 120 trials of sub-01_fmri"):
        evaluate.unseen(decoder, recipe.load("toy").recipe, dataset, embeddings)
    scores, _ = evaluate.unseen(decoder, recipe.load("toy").recipe, dataset.part("test"), embeddings)
    top1 = report.read(out).score("image_retrieval_top1")
    (same,) = [s for s in scores if s.name == "image_retrieval_top1"]
    np.testing.assert_array_equal(same.per_sample, top1.per_sample)


def test_pictures_are_refused_where_nothing_draws(prepared, toy, tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["run", "toy", "--data", str(prepared), "--out", str(out)]) == 0
    words = [
        "decode",
        str(out),
        str(prepared / "sub-01_fmri.h5"),
        "--out",
        str(tmp_path / "d.h5"),
        "--pictures",
    ]
    assert cli.main(words) == cli.FAILED
    assert "has no generator" in capsys.readouterr().err
    assert not (tmp_path / "d.h5").exists()


def test_a_decoder_of_other_embeddings_than_its_recipes_target_is_not_judged_by_that(
    prepared, other, toy, tmp_path, capsys
):
    """Both have 16 values: a score would come out, of another model's embeddings."""
    out, recording = tmp_path / "run", str(prepared / "sub-01_fmri.h5")
    assert cli.main(["run", "own", "--data", str(prepared), "--out", str(out)]) == 0
    assert report.read(out).score("image_retrieval_top1").value > 0.5
    capsys.readouterr()
    searched = ["decode", str(out), recording, "--out", str(tmp_path / "d.h5"), "--data", str(prepared)]
    for words in (
        ["evaluate", str(out), "--data", str(prepared)],
        ["evaluate", str(out), "--data", str(other)],
        searched,
    ):
        assert cli.main(words) == cli.FAILED
        said = capsys.readouterr().err
        assert "RECIPE.target is pixels/4x4/gray, expected mine" in said and "decoder.retrieve" in said
    assert not (out / "evaluation").exists() and not (tmp_path / "d.h5").exists()
    assert cli.main(searched[:-2]) == 0


def test_a_decoder_named_in_place_of_its_run_is_told_before_anything_is_written(
    prepared, toy, tmp_path, capsys
):
    out = tmp_path / "run"
    assert cli.main(["run", "own", "--data", str(prepared), "--out", str(out)]) == 0
    words = [
        "decode",
        str(out / "decoder"),
        str(prepared / "sub-01_fmri.h5"),
        "--out",
        str(tmp_path / "d.h5"),
    ]
    for more in (["--data", str(prepared)], ["--pictures"]):
        assert cli.main([*words, *more]) == cli.FAILED
        assert f"name the run's folder: {out}." in capsys.readouterr().err
    assert not (tmp_path / "d.h5").exists()


def test_a_slip_in_a_setting_is_told_before_anything_runs(prepared, toy, tmp_path, capsys):
    words = ["run", "toy", "--data", str(prepared), "--out", str(tmp_path / "run"), "--set", "train.n_stps=3"]
    assert cli.main(words) == cli.FAILED
    assert "Did you mean 'n_steps'?" in capsys.readouterr().err


def test_a_damaged_decoder_is_not_used(prepared, toy, tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["run", "toy", "--data", str(prepared), "--out", str(out)]) == 0
    settings = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(settings | {"format": 1, "extra": True}))
    assert cli.main(["decode", str(out), str(prepared / "sub-01_fmri.h5")]) == cli.FAILED
    assert "sha256" in capsys.readouterr().err


def test_a_run_without_a_decoder_says_so(prepared, tmp_path, capsys):
    assert cli.main(["decode", str(tmp_path), str(prepared / "sub-01_fmri.h5")]) == cli.FAILED
    assert "holds no saved decoder" in capsys.readouterr().err
