"""Pretraining on masked patches: what is masked and counted, what it may look at, and how fit starts from it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks, seeding, train
from braindec.adapters import gain_bias, region_patches
from braindec.adapters import linear as linear_adapter
from braindec.backbones import masked_transformer, mlp
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.decoder.batches import Batches
from braindec.decoder.codes import Codes
from braindec.decoder.fitting import SubjectSet, without_labels
from braindec.decoder.masked import Config, Pretrainee, masked_error, objective, pretrain
from braindec.decoder.patch_values import in_sds, moments_of
from braindec.encoder import Encoder
from braindec.losses import clip
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

BACKBONE = masked_transformer.Config(patch=4, width=8, n_layers=1, n_heads=2)
SETTINGS = Settings(
    adapter=region_patches.Config(n_patches=8, patch=4),  # subjects of 45 and 50 voxels in one shape
    backbone=BACKBONE,
    loss=clip.Config(),
    preprocessing=(Standardise(),),
    train=train.Config(n_steps=4, batch_size=48, validate_every=4, device="cpu"),
    n_folds=0,
    calibrate=False,
)
SHORT = train.Config(n_steps=6, batch_size=32, validate_every=3, device="cpu")
MASKED = Config(ratio=0.5, width=8, n_heads=2, train=SHORT)
CODES = replace(MASKED, predicts="codes", codes=Codes(n_codes=12, width=8, n_heads=2, train=SHORT))


def build(planted, settings=SETTINGS):
    return BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)


def pretrained(planted, part=None, folder=None, settings=MASKED):
    part = planted.dataset.part("train") if part is None else part
    return build(planted).pretrain(part, settings, folder, progress=False)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def learnt(planted):
    return pretrained(planted)


@pytest.fixture
def pretrainee(generator):
    """Ten values in patches of four: the last one is half padding."""
    signal = SubjectSignal(1, "fmri", (10,), ArraySpace(10))
    info = SignalInfo({signal.key: signal})
    encoder = Encoder.build(info, {"main": (1, 3)}, gain_bias.Config(), BACKBONE, 0)
    values = 5 + 3 * torch.randn(40, 10, generator=generator)
    sets = {signal.key: SubjectSet(values, {}, torch.arange(40), tuple("abcdefghij" * 4))}
    with seeding.seeded(0, "decoder"):
        return Pretrainee(encoder, MASKED, sets), sets


def test_masked_values_that_are_no_padding_count_and_no_others(pretrainee):
    module, _ = pretrainee
    kept, counted = module.masks(torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.1, 0.5]]))
    assert kept.tolist() == [[0, 2], [1, 2]]  # half of three patches, rounded to two
    assert counted.sum(2).tolist() == [[0, 4, 0], [4, 0, 0]]
    _, counted = module.masks(torch.tensor([[0.1, 0.5, 0.9]]))
    assert counted[0, 2].tolist() == [True, True, False, False]


def test_earlier_patches_are_shown_and_those_of_the_next_time_alone_have_to_be_foreseen(generator):
    """Two channels of 12 samples in patches of four: times 0, 1 and 2 of each channel."""
    signal = SubjectSignal(1, "eeg", (2, 12), ArraySpace(2), sfreq=100.0, tmin=0.0)
    info = SignalInfo({signal.key: signal})
    encoder = Encoder.build(info, {"main": (1, 3)}, gain_bias.Config(), BACKBONE, 0)
    sets = {
        signal.key: SubjectSet(
            torch.randn(8, 2, 12, generator=generator), {}, torch.arange(8), tuple("abcdefgh")
        )
    }
    module = Pretrainee(encoder, replace(MASKED, shown="earlier"), sets)
    for first, earlier, foreseen in (
        (0.0, [0, 3], [1, 4]),
        (0.4, [0, 3], [1, 4]),
        (0.9, [0, 1, 3, 4], [2, 5]),
    ):
        kept, counted = module.masks(torch.full((2, 6), first))
        assert kept.tolist() == [earlier, earlier]
        assert torch.nonzero(counted[1].all(1)).flatten().tolist() == foreseen
        assert counted.sum() == 2 * 4 * len(foreseen)


def test_what_stays_as_it_was_is_foreseen_and_what_is_drawn_anew_is_not(generator):
    found = []
    for constant in (True, False):
        signal = SubjectSignal(1, "eeg", (2, 12), ArraySpace(2), sfreq=100.0, tmin=0.0)
        encoder = Encoder.build(
            SignalInfo({signal.key: signal}), {"main": (1, 3)}, gain_bias.Config(), BACKBONE, 0
        )
        values = torch.randn(200, 2, 12, generator=generator)
        values = values[:, :, :1].expand(-1, -1, 12).contiguous() if constant else values
        sets = {signal.key: SubjectSet(values, {}, torch.arange(200), tuple(str(i) for i in range(200)))}
        with seeding.seeded(0, "decoder"):
            module = Pretrainee(encoder, replace(MASKED, shown="earlier"), sets)
        training = train.Config(n_steps=150, batch_size=64, lr=1e-2, device="cpu")
        train.fit(module, Batches(sets, training, 0, "masked"), objective, training, seed=0, name="masked",
                  progress=False)  # fmt: skip
        found.append(masked_error(module.eval(), sets, 0))
    assert found[0] < 0.3 < 0.7 < found[1]


def test_a_decoder_that_says_the_mean_has_an_error_of_one(pretrainee, generator):
    module, sets = pretrainee
    with torch.no_grad():
        module.decoder.values.weight.zero_()
        module.decoder.values.bias.zero_()
    module.eval()
    assert masked_error(module, sets, 0) == pytest.approx(1.0, abs=1e-6)
    batch = {"keys": list(sets)} | {f"signals/{key}": s.signals for key, s in sets.items()}
    loss = float(objective(module.train(), batch, 0.0, generator)["masked"].detach())
    assert loss == pytest.approx(1.0, abs=0.2)  # in SDs, over the masked values of forty trials


def test_the_trunk_and_the_light_decoder_learn_and_adapter_and_heads_do_not(pretrainee, generator):
    module, sets = pretrainee
    batch = {"keys": list(sets)} | {f"signals/{key}": s.signals for key, s in sets.items()}
    objective(module.train(), batch, 0.0, generator)["masked"].backward()
    reached = {
        n.split(".")[0] + "." + n.split(".")[1] for n, p in module.named_parameters() if p.grad is not None
    }
    assert reached == {"encoder.backbone", *(n for n in reached if n.startswith("decoder."))}
    idle = {n for n, p in module.named_parameters() if p.grad is None}
    assert idle == {
        n for n in idle if n.startswith(("encoder.adapters.", "encoder.backbone.heads.", "moments."))
    }


def test_labels_are_not_looked_at(planted, learnt):
    part = planted.dataset.part("train")
    unknown = {
        key: replace(t, table=t.table.replace(stimulus_id=np.full(t.n_trials, "unknown")))
        for key, t in part.trials.items()
    }
    blind = pretrained(planted, replace(part, trials=unknown, split=None))
    assert same(blind.pretrained.trunk, learnt.pretrained.trunk)


def test_a_killed_pretraining_goes_on_where_it_was(planted, learnt, tmp_path, monkeypatch):
    kept = replace(MASKED, train=replace(SHORT, checkpoint_every=2))
    fit = train.fit
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", lambda *a, **k: fit(*a, **k, stop_at=4))
        pretrained(planted, folder=tmp_path, settings=kept)
    resumed = pretrained(planted, folder=tmp_path, settings=kept)
    assert same(resumed.pretrained.trunk, learnt.pretrained.trunk)
    assert resumed.pretrained.log.rows[-1]["step"] == 6


class Killed(Exception):
    """What a test ends a pretraining with."""


@pytest.mark.parametrize(("stage", "again"), [("codes", ["codes", "masked"]), ("masked", ["masked"])])
def test_a_pretraining_on_codes_goes_on_in_the_stage_it_was_killed_in(
    stage, again, planted, tmp_path, monkeypatch
):
    every = replace(SHORT, checkpoint_every=3)  # when it is looked at anyway
    kept = replace(CODES, train=every, codes=replace(CODES.codes, train=every))
    whole, fit, called = pretrained(planted, settings=CODES).pretrained, train.fit, []

    def half(*arguments, **settings):
        if settings["name"] != stage:
            return fit(*arguments, **settings)
        fit(*arguments, **settings, stop_at=3)
        raise Killed

    def counted(*arguments, **settings):
        called.append(settings["name"])
        return fit(*arguments, **settings)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(train, "fit", half)
        pretrained(planted, folder=tmp_path, settings=kept)
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", counted)
        resumed = pretrained(planted, folder=tmp_path, settings=kept).pretrained
    assert called == again
    assert same(resumed.trunk, whole.trunk)
    assert resumed.about == whole.about
    assert not [*(tmp_path / "checkpoints").glob("tokenizer*")]


def test_a_trunk_of_codes_is_another_and_says_how_its_tokenizer_did(planted, learnt, tmp_path):
    decoder = pretrained(planted, settings=CODES)
    found = decoder.pretrained
    assert not same(found.trunk, learnt.pretrained.trunk)
    assert found.trunk.keys() == learnt.pretrained.trunk.keys()
    assert "codes" not in learnt.pretrained.about
    assert json.loads(json.dumps(found.about))["codes"].keys() == {
        "n_codes", "rebuilt_error", "n_used", "perplexity"
    }  # fmt: skip
    decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    again = BrainDecoder.from_pretrained(decoder.save_pretrained(tmp_path / "decoder"))
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    np.testing.assert_array_equal(again.predict(trials).values, decoder.predict(trials).values)
    assert again.provenance["pretrained"]["codes"] == found.about["codes"]


def test_fit_starts_from_the_trunk_and_says_so(planted, learnt, tmp_path):
    still = replace(SETTINGS, train=replace(SETTINGS.train, n_steps=0))
    decoder = build(planted, still)
    decoder.pretrained = learnt.pretrained
    decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    assert same(decoder.encoder.backbone.trunk(), dict(learnt.pretrained.trunk))
    assert decoder.provenance["pretrained"]["n_trials"] == {"sub-01_fmri": 360, "sub-02_fmri": 360}
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    again = BrainDecoder.from_pretrained(decoder.save_pretrained(tmp_path / "decoder"))
    np.testing.assert_array_equal(again.predict(trials).values, decoder.predict(trials).values)
    assert again.provenance["pretrained"] == decoder.provenance["pretrained"]


def test_a_trunk_of_another_shape_and_a_backbone_without_patches_are_refused(planted, learnt):
    wider = build(planted, replace(SETTINGS, backbone=replace(BACKBONE, width=12)))
    wider.pretrained = learnt.pretrained
    with pytest.raises(ValueError, match="pretrain with the same backbone"):
        wider.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    plain = build(planted, replace(SETTINGS, adapter=linear_adapter.Config(), backbone=mlp.Config()))
    with pytest.raises(ValueError, match="no patches to mask"):
        plain.pretrain(planted.dataset.part("train"), MASKED, progress=False)


def test_held_out_runs_choose_the_step_and_are_not_learnt_from(planted, generator, monkeypatch):
    part, fit = planted.dataset.part("train"), train.fit
    monkeypatch.setattr(
        train, "fit", lambda *a, **k: fit(*a, **(k | {"validate": None}))
    )  # the last step is kept
    numbers = {key: torch.arange(t.n_trials)[:, None] for key, t in part.trials.items()}
    fraction = SHORT.validation_fraction
    learnt, held = without_labels(numbers, part, fraction, 0, "masked held")
    signals = {key: torch.randn(len(n), 48, generator=generator) for key, n in numbers.items()}

    def trunk(changed):
        values = {key: x.clone() for key, x in signals.items()}
        for key, rows in changed.items():
            values[key][rows.signals[:, 0]] += 10 * torch.randn(len(rows.signals), 48, generator=generator)
        encoder = Encoder.build(info, {"main": (1, 3)}, gain_bias.Config(), BACKBONE, 0)
        return dict(pretrain(encoder, values, part, MASKED, 0, progress=False).trunk)

    found = [SubjectSignal(t.subject, "fmri", (48,), ArraySpace(48)) for t in part.trials.values()]
    info = SignalInfo({signal.key: signal for signal in found})
    runs = {key: np.asarray(t.table["run"]) for key, t in part.trials.items()}
    for key in runs:
        of = [set(runs[key][rows[key].signals[:, 0].numpy()].tolist()) for rows in (learnt, held)]
        assert of[0] and of[1] and not of[0] & of[1]
    assert same(trunk({}), trunk(held))
    assert not same(trunk({}), trunk(learnt))


OTHERWISE = [
    ("preprocessing", replace(SETTINGS, preprocessing=()), MASKED),
    ("attention", replace(SETTINGS, backbone=replace(BACKBONE, n_heads=4)), MASKED),
    ("light decoder", SETTINGS, replace(MASKED, n_heads=4)),
    ("codes", replace(SETTINGS, preprocessing=()), CODES),
]


@pytest.mark.parametrize(("settings", "told"), [row[1:] for row in OTHERWISE], ids=[r[0] for r in OTHERWISE])
def test_a_pretraining_on_other_signals_or_of_another_network_is_not_gone_on_with(
    settings, told, planted, tmp_path
):
    """Of equal shapes, all of them."""
    every = replace(SHORT, checkpoint_every=2)
    kept = replace(told, train=every, codes=replace(told.codes, train=every))
    first = CODES if told is CODES else MASKED
    pretrained(planted, folder=tmp_path, settings=replace(kept, n_heads=first.n_heads))
    with pytest.raises(checks.ConfigError, match="made with other settings, data"):
        build(planted, settings).pretrain(planted.dataset.part("train"), kept, tmp_path, progress=False)


def test_patches_are_measured_in_their_own_sds_in_any_unit(generator):
    signal = SubjectSignal(1, "meg", (8,), ArraySpace(8))
    encoder = Encoder.build(
        SignalInfo({signal.key: signal}), {"main": (1, 3)}, gain_bias.Config(), BACKBONE, 0
    )
    teslas = 1e-13 * torch.randn(400, 8, generator=generator)
    sets = {signal.key: SubjectSet(teslas, {}, torch.arange(400), ("a",) * 400)}
    _, values = in_sds(encoder, moments_of(encoder, sets), signal.key, teslas)
    assert float(values.detach().std()) == pytest.approx(1, abs=0.05)
