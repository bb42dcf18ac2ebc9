"""Both sides of a conversion are used up, or the error names what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear as linear_backbone
from braindec.convert import Checkpoint, Design, KeyMap
from braindec.convert._design import _NoDraws, from_json, to_json
from braindec.types import ArraySpace, SensorSpace, SignalInfo, SubjectSignal

DESIGN = Design(
    system="toy",
    info=SignalInfo({"sub-01_fmri": SubjectSignal(1, "fmri", (3,), ArraySpace(3))}),
    outputs={"main": (1, 2)},
    adapter=linear_adapter.Config(shared_dim=4),
    backbone=linear_backbone.Config(),
)
ADAPTER, HEAD = "encoder.adapters.sub-01_fmri.linear.", "encoder.backbone.heads.linear.to_main."
THEIRS = {"in.w": (4, 3), "in.b": (4,), "out.w": (2, 4), "out.b": (2,)}


def key_map(**changed):
    """A map onto a checkpoint with these tensors changed (None: absent)."""
    shapes = {k: v for k, v in (THEIRS | changed).items() if v is not None}
    keys = KeyMap(Checkpoint(Path("toy.pth"), {k: torch.randn(v) for k, v in shapes.items()}), DESIGN)
    keys.rename({r"encoder\.adapters\.[\w-]+\.linear\.(w|b)\w+": r"in.\1"})
    return keys


def with_head(keys):
    keys.rename({r"encoder\.backbone\..*\.(w|b)\w+": r"out.\1"})
    return keys


def test_a_map_that_uses_up_both_sides_lists_our_tensors_in_their_order():
    reading = with_head(key_map()).finish(["a note"])
    assert [m.target for m in reading.moves] == list(DESIGN.build_shapes().module.state_dict())
    assert {m.sources for m in reading.moves} == {(key,) for key in THEIRS}
    assert reading.notes == ("a note",)


def test_several_published_tensors_may_make_one_of_ours_and_one_may_make_several():
    keys = key_map(**{"out.w": (1, 4), "more.w": (1, 4)})
    keys.move(HEAD + "weight", "out.w", "more.w", make=lambda a, b: torch.cat([a, b]), what="joined")
    keys.move(HEAD + "bias", "in.b", make=lambda b: b[:2], what="the first two")
    keys.leave(["out.b"], "not needed")
    reading = keys.finish()
    made = {m.target: m.make(*(keys.source[key] for key in m.sources)) for m in reading.moves}
    assert torch.equal(made[HEAD + "weight"], torch.cat([keys.source["out.w"], keys.source["more.w"]]))
    assert torch.equal(made[HEAD + "bias"], keys.source["in.b"][:2])
    assert reading.left == {"out.b": "not needed"}


def test_a_tensor_may_be_filled_with_what_no_checkpoint_decides():
    keys = key_map(**{"out.b": None})
    keys.move(HEAD + "weight", "out.w")
    keys.fill(HEAD + "bias", torch.zeros(2), "the published model has none")
    assert keys.finish().moves[-1].what == "the published model has none"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"in.b": None}, "missing: in.b"),
        ({"in.c": (7,)}, r"unknown: in.c \(7,\)"),
        ({"in.w": (3, 4)}, r"shape: in.w \(3, 4\) for .*weight \(4, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(changed, said):
    with pytest.raises(checks.DataFileError, match=said):
        with_head(key_map(**changed)).finish()


def test_what_nothing_makes_is_named():
    keys = key_map()
    keys.leave(["out.w", "out.b"], "forgotten")
    with pytest.raises(checks.DataFileError, match=r"nothing makes: .*to_main\.weight \(2, 4\)"):
        keys.finish()


def test_what_is_made_twice_or_is_none_of_ours_is_named():
    keys = with_head(key_map())
    keys.move(HEAD + "bias", "out.b")
    keys.move("encoder.attic", "out.b")
    with pytest.raises(
        checks.DataFileError, match=r"filled twice: .*bias\n.*no tensor of ours: encoder.attic"
    ):
        keys.finish()


def test_a_long_list_of_problems_is_cut_and_counted():
    with pytest.raises(checks.DataFileError, match="and 8 more"):
        with_head(key_map(**{f"more.{i}": (1,) for i in range(20)})).finish()


def test_a_design_survives_json_with_sensors_whose_place_is_not_known():
    positions = np.array([[0.1, 0.2, 0.3], [np.nan] * 3])
    space = SensorSpace(("A", "B"), positions, ("eeg", "eeg"))
    signal = SubjectSignal(4, "eeg", (2, 90), space, sfreq=100.0, tmin=-0.1, units="V")
    info, adapters = SignalInfo({signal.key: signal}), {"eeg": linear_adapter.Config()}
    design = Design("toy", info, {"main": (1, 2)}, adapters, linear_backbone.Config())
    again = from_json(to_json(design))
    assert to_json(again) == to_json(design)
    found = again.info.of("sub-04_eeg")
    np.testing.assert_array_equal(found.space.positions, positions)
    assert (found.shape, found.sfreq, found.tmin, found.units) == ((2, 90), 100.0, -0.1, "V")
    assert again.adapter == design.adapter


def test_shapes_are_built_without_memory_and_unfilled_modules_without_draws():
    assert all(p.is_meta for p in DESIGN.build_shapes().module.parameters())
    assert not any(p.is_meta for p in DESIGN.build_unfilled().module.parameters())
    before = torch.get_rng_state()
    with _NoDraws():
        torch.nn.Linear(3, 4), torch.nn.Conv2d(3, 4, 2), torch.nn.Embedding(3, 4)
        torch.nn.init.xavier_uniform_(torch.empty(3, 4)), torch.nn.init.trunc_normal_(torch.empty(3, 4))
    assert torch.equal(torch.get_rng_state(), before)
