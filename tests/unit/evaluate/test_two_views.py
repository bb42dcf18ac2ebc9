"""What contrast of views is worth is told where paired clips say so, and nowhere else."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch

from braindec import train
from braindec.adapters import region_patches
from braindec.backbones import masked_transformer
from braindec.data import sliding
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.decoder.two_views import Config
from braindec.evaluate.two_views import WORDS, panels, started
from braindec.evaluate.video_apart import METRIC
from braindec.evaluate.whole import Evaluation
from braindec.losses import clip

KEY = "sub-01_fmri"
VIEWS = {KEY: {"n": 48, "identified": 0.5, "interval": [0.4, 0.6], "untrained": 0.3, "chance": 1 / 48}}


def said(difference, interval, p):
    """The panels of a comparison with random weights, and of one with ridge that must not be taken for it."""
    row = {"a": WORDS["braindec"], "metric": METRIC, "key": KEY, "n": 240}
    rows = (
        row | {"b": WORDS["scratch"], "difference": difference, "interval": interval, "p": p},
        row | {"b": WORDS["ridge"], "difference": -0.3, "interval": [-0.4, -0.2], "p": 0.001},
    )
    measured = {KEY: {METRIC: SimpleNamespace(value=0.8, interval=(0.7, 0.9))}}
    judged = {system: SimpleNamespace(measured=measured) for system in WORDS}
    main = SimpleNamespace(pretrained=SimpleNamespace(about={"views": VIEWS}))
    found = SimpleNamespace(views=SimpleNamespace(main=main))
    return panels(found, Evaluation((), judged, rows, {}))


@pytest.mark.parametrize(
    ("difference", "interval", "p", "expected"),
    [
        (0.05, [0.02, 0.08], 0.001, ": more (+0.050"),
        (-0.05, [-0.08, -0.02], 0.001, ": fewer (-0.050"),
        (0.01, [-0.02, 0.04], 0.4, ": neither more nor fewer (+0.010"),
        (0.01, [0.001, 0.02], 0.08, ": neither more nor fewer (+0.010"),
    ],
)
def test_a_gain_over_random_weights_is_told_where_interval_and_test_say_so(difference, interval, p, expected):
    _, kind, payload = said(difference, interval, p)[0]
    assert kind == "text"
    assert payload["text"].count("\n") == 1
    assert expected in payload["text"]


def test_each_trunk_stands_with_its_own_difference_and_views_beside_the_untrained_and_chance():
    _, views, worth = said(0.05, [0.02, 0.08], 0.001)
    assert views[2]["rows"] == [["sub-01 fmri", 48, "0.500 [0.400, 0.600]", "0.300", "0.0208"]]
    told = {row[1]: row[3] for row in worth[2]["rows"]}
    assert told == {
        WORDS["braindec"]: "",
        WORDS["scratch"]: "+0.050 [+0.020, +0.080], p 0.001",
        WORDS["ridge"]: "-0.300 [-0.400, -0.200], p 0.001",
        WORDS["shuffled"]: "",
    }


def test_what_starts_from_scratch_has_the_weights_of_no_pretraining_and_the_others_one_trunk(planted):
    part = sliding.windowed(planted.dataset, (-1, 0, 1)).part("train")
    regions = ("volume -1", "volume +0", "volume +1")
    settings = Settings(
        adapter=region_patches.Config(regions=regions, rest=False, n_patches=4, patch=4),
        backbone=masked_transformer.Config(patch=4, width=8, n_layers=1, n_heads=2), loss=clip.Config(),
        preprocessing=(Standardise(),), train=train.Config(n_steps=0, batch_size=48, device="cpu"), n_folds=0,
        calibrate=False,
    )  # fmt: skip
    plan = SimpleNamespace(n_null=1, progress=False)
    told = {f.name: getattr(settings, f.name) for f in fields(settings)}
    recipe = SimpleNamespace(**told, plan=plan, protocol="heldout_clips")
    views = Config(train=train.Config(n_steps=20, lr=1e-2, batch_size=48, validate_every=20, device="cpu"))
    found = started(recipe, part, planted.embeddings, views)

    def trunk(decoder):
        return {name: v.detach().clone() for name, v in decoder.encoder.backbone.trunk().items()}

    def same(one, other):
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    plain = BrainDecoder.build(settings, part.info, planted.embeddings.info)
    plain.fit(part, planted.embeddings, progress=False)
    assert same(trunk(found.scratch), trunk(plain))
    assert not found.scratch.pretrained.trunk
    learnt = dict(found.views.main.pretrained.trunk)
    assert not same(learnt, trunk(plain))
    assert same(trunk(found.views.main), learnt) and same(trunk(found.nulls[0].main), learnt)
