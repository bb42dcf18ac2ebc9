"""Decoders that are solved and not trained, as a user meets them, and the start of those that are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear, mixer, mlp
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings, closed_form, rows, stopping_of
from braindec.decoder.fitting import SubjectSet
from braindec.losses import clip
from braindec.train import Config

SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=12),
    backbone=linear.Config(),
    loss=clip.Config(),
    preprocessing=(Standardise(),),
    train=Config(n_steps=50, batch_size=64, validate_every=10, device="cpu"),
    n_folds=2,
    fit="closed_form",
)


def fit(planted, settings, part=None):
    decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    return decoder.fit(part or planted.dataset.part("train"), planted.embeddings, progress=False)


@pytest.fixture(scope="module")
def decoder(planted):
    return fit(planted, SETTINGS)


def test_it_is_solved_below_full_rank_without_a_step_and_retrieves(decoder, planted):
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    assert decoder.log.best_step == 0
    assert decoder.score(trials, planted.embeddings) > 0.5  # chance 1/40
    path = decoder.encoder.backbone.linear_path("main")
    assert path.weight.shape == (16, 12)
    assert torch.linalg.matrix_rank(path.weight) == 12
    assert stopping_of(decoder.settings) == {"rule": "solved in closed form: no steps"}


def test_mindeye2s_published_mixer_is_affine_and_its_solution_is_that_of_the_linear_backbone(
    decoder, planted
):
    mixed = fit(planted, replace(SETTINGS, backbone=mixer.Config("published")))
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    assert mixed.log.best_step == 0
    np.testing.assert_allclose(
        mixed.predict(trials).values, decoder.predict(trials).values, rtol=1e-4, atol=1e-5
    )


def test_on_shuffled_pairs_it_retrieves_nothing(planted):
    part, rng = planted.dataset.part("train"), np.random.default_rng(0)
    wrong = {
        k: replace(t, table=t.table.replace(stimulus_id=rng.permutation(t.table["stimulus_id"])))
        for k, t in part.trials.items()
    }
    null = fit(planted, SETTINGS, replace(part, trials=wrong))
    hits = [null.score(t, planted.embeddings) for t in planted.dataset.part("test").trials.values()]
    assert np.mean(hits) < 0.2


def test_it_loads_to_the_same_bits_and_remembers_how_it_was_fitted(decoder, planted, tmp_path):
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    decoder.save_pretrained(tmp_path)
    loaded = BrainDecoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.predict(trials).values, decoder.predict(trials).values)
    assert loaded.settings.fit == "closed_form"


def test_where_a_plain_ridge_would_be_too_large_training_starts_in_closed_form(planted, monkeypatch):
    plain = replace(SETTINGS, fit="gradient", adapter=linear_adapter.Config(shared_dim=16))
    plain = replace(
        plain, backbone=mlp.Config(width=32, n_blocks=1), train=replace(SETTINGS.train, n_steps=0)
    )
    expected = fit(planted, plain)
    monkeypatch.setattr(closed_form, "_is_small", lambda *_: False)
    found = fit(planted, plain)
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    cosine = torch.nn.functional.cosine_similarity(
        *(d.centred(d.predict(trials, repeats="before").values) for d in (expected, found))
    )
    assert (
        cosine.min() > 0.97
    )  # folds that penalties are chosen on are the same, their scores rounded otherwise


def test_more_rows_than_are_factorised_are_drawn(planted, monkeypatch):
    monkeypatch.setattr(closed_form, "MAX_SIDE", 15)
    made = fit(planted, replace(SETTINGS, n_folds=0, calibrate=False))
    assert made.score(planted.dataset.part("test").trials["sub-01_fmri"], planted.embeddings) > 1 / 40


def test_a_curved_backbone_cannot_be_solved(planted):
    with pytest.raises(checks.ConfigError, match="set backbone to linear"):
        replace(SETTINGS, backbone=mlp.Config())
    with pytest.raises(ValueError, match="fit must be one of"):
        replace(SETTINGS, fit="closed")


def test_targets_on_disk_are_never_read_whole(rng, monkeypatch):
    values = rng.standard_normal((200, 4, 30)).astype(np.float32)
    read = []

    def reader(which, out):
        read.append(len(which))
        return values[which]

    monkeypatch.setattr(closed_form, "BLOCK_BYTES", 20 * 4 * 120)
    signals = torch.from_numpy(rng.standard_normal((200, 8)).astype(np.float32))
    targets = rows.RowTensor(reader, np.arange(200), (4, 30))
    units = tuple(str(i) for i in range(200))
    closed_form.solve({"a": SubjectSet(signals, {"main": targets}, torch.arange(200), units)}, "main", 5, 0)
    assert max(read) == 20
