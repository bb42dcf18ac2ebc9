"""Ways to meet a new subject by gradient steps, subjects' shares of a batch, and every subject left out in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear, mlp
from braindec.decoder import BrainDecoder, Settings, leave_one_subject_out
from braindec.decoder.batches import Batches
from braindec.decoder.fitting import SubjectSet
from braindec.losses import clip
from braindec.train import Config

SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=16),
    backbone=mlp.Config(width=16, n_blocks=1),
    loss=clip.Config(),
    train=Config(n_steps=10, batch_size=48, validate_every=10, lr=2e-3, device="cpu"),
    n_folds=0,
    calibrate=False,
)


@pytest.fixture(scope="module")
def decoder(planted):
    made = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    return made.fit(planted.dataset.part("train"), planted.embeddings, progress=False)


def adapted(decoder, planted, mode):
    return decoder.adapt(planted.newcomer.part("train"), planted.embeddings, mode=mode, progress=False)


def changed(before, after):
    """First parts of the names of the encoder's weights that differ, new ones left out."""
    old, new = before.encoder.state_dict(), after.encoder.state_dict()
    return {
        ".".join(name.split(".")[:2]) for name, values in old.items() if not torch.equal(values, new[name])
    }


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("adapter", set()),
        ("reset", {"backbone.stem"}),
        ("all", {"backbone.stem", "backbone.blocks", "backbone.norm", "backbone.heads", "backbone.linear"}),
    ],
)
def test_a_mode_trains_what_it_says_and_nothing_else(decoder, planted, mode, expected):
    assert changed(decoder, adapted(decoder, planted, mode)) == expected


def test_with_the_trunk_frozen_other_subjects_predictions_stay_bit_equal(decoder, planted):
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    before = decoder.predict(trials).values
    np.testing.assert_array_equal(adapted(decoder, planted, "adapter").predict(trials).values, before)
    for mode in ("reset", "all"):
        assert not np.array_equal(adapted(decoder, planted, mode).predict(trials).values, before)
    np.testing.assert_array_equal(decoder.predict(trials).values, before)


def test_reset_layers_start_anew_and_those_behind_them_stay(decoder, planted):
    still = replace(SETTINGS.train, n_steps=0)
    part = planted.newcomer.part("train")
    made = decoder.adapt(part, planted.embeddings, mode="reset", settings=still, progress=False)
    assert changed(decoder, made) == {"backbone.stem"}
    drawn, learnt = (d.encoder.backbone.stem[1].weight.detach().flatten() for d in (made, decoder))
    assert abs(float(torch.corrcoef(torch.stack([drawn, learnt]))[0, 1])) < 0.3


@pytest.mark.parametrize("mode", ["adapter", "reset", "all"])
def test_each_mode_decodes_the_new_subject(decoder, planted, mode):
    trials = planted.newcomer.part("test").trials["sub-03_fmri"]
    assert adapted(decoder, planted, mode).score(trials, planted.embeddings) > 0.3  # chance 1/40
    assert adapted(decoder, planted, mode).provenance["adapted"]["mode"] == mode


def test_a_backbone_without_first_layers_refuses_to_reset_them(planted):
    plain = BrainDecoder.build(
        replace(SETTINGS, backbone=linear.Config()), planted.dataset.info, planted.embeddings.info
    )
    plain.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    with pytest.raises(checks.ConfigError, match="first layers"):
        adapted(plain, planted, "reset")
    with pytest.raises(ValueError, match="mode"):
        adapted(plain, planted, "everything")


def test_every_subject_is_left_out_once_and_met_by_the_others_decoder(planted):
    unfitted = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    part, test = planted.dataset.part("train"), planted.dataset.part("test")
    found = dict(leave_one_subject_out(unfitted, part, planted.embeddings, n_trials=240, progress=False))
    assert sorted(found) == [1, 2]
    for subject, made in found.items():
        key, other = f"sub-{subject:02d}_fmri", f"sub-{3 - subject:02d}_fmri"
        assert made.provenance["n_trials"] == {other: 360}
        assert made.score(test.trials[key], planted.embeddings) > 0.3  # chance 1/40
    one = replace(part, trials={"sub-01_fmri": part.trials["sub-01_fmri"]})
    with pytest.raises(ValueError, match="number of subjects"):
        next(leave_one_subject_out(unfitted, one, planted.embeddings))


def test_subjects_have_equal_shares_of_every_batch_whatever_they_brought():
    sizes = {"sub-01_fmri": 500, "sub-02_fmri": 40, "sub-03_eeg": 7}
    sets = {
        key: SubjectSet(torch.arange(n)[:, None].float(), {}, torch.arange(n), tuple(map(str, range(n))))
        for key, n in sizes.items()
    }
    batches = Batches(sets, Config(batch_size=36), 0, "balance")
    seen: dict[str, list[float]] = {key: [] for key in sizes}
    for step in range(42):
        batch = batches(step)
        assert {key: len(batch[f"signals/{key}"]) for key in sizes} == {
            "sub-01_fmri": 12, "sub-02_fmri": 12, "sub-03_eeg": 7,
        }  # fmt: skip
        for key in sizes:
            seen[key] += batch[f"signals/{key}"].flatten().tolist()
    for key, n in sizes.items():  # whole passes: no trial comes twice before every other one came
        counts = np.bincount(np.array(seen[key], dtype=int), minlength=n)
        assert counts.max() - counts.min() <= 1
