"""Converted MindEye2 checkpoints of any size compute what a plain network under the published names computes."""

from __future__ import annotations

import pytest
import torch

from braindec import checks
from braindec.convert import convert, load, mindeye2

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SIZES = {
    "three subjects": {"voxels": (11, 7, 9), "hidden": 20, "n_blocks": 3, "tokens": (5, 12)},
    "one subject, one token": {"voxels": (6,), "hidden": 9, "n_blocks": 1, "tokens": (1, 14)},
    "two blocks of a larger picture": {
        "voxels": (5, 8), "hidden": 10, "n_blocks": 2, "tokens": (3, 8), "channels": (32, 96), "side": 5
    },
    "no retrieval head": {"voxels": (5, 8), "hidden": 10, "n_blocks": 2, "tokens": (3, 8), "clip": False},
    "no picture": {"voxels": (5, 8), "hidden": 10, "n_blocks": 2, "tokens": (3, 8), "blurry": False},
    "two steps": {"voxels": (5, 8), "hidden": 10, "n_blocks": 2, "tokens": (3, 8), "seq_len": 2, "blurry": False},
}  # fmt: skip


@pytest.fixture
def saved(tmp_path, plain_mindeye2, plain_mindeye2_prior):
    """(plain network, path of its checkpoint, its tensors) of some size."""

    def make(size="three subjects", prior=True, **changed):
        torch.manual_seed(0)
        plain = plain_mindeye2(**SIZES[size]).eval()
        tensors = plain.state_dict() | (plain_mindeye2_prior(plain.tokens) if prior else {})
        tensors = {k: v for k, v in (tensors | changed).items() if v is not None}
        torch.save({"model_state_dict": tensors, "epoch": 3}, tmp_path / "last.pth")
        return plain, tmp_path / "last.pth", tensors

    return make


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_every_output_is_the_plain_network_s_at_any_size(saved, tmp_path, size):
    plain, path, _ = saved(size)
    convert("mindeye2", path, tmp_path / "out")
    converted = load(tmp_path / "out")
    steps = SIZES[size].get("seq_len", 1)
    for subject, key in enumerate(converted.encoder.keys):
        voxels = torch.randn(4, steps, SIZES[size]["voxels"][subject])
        wanted = plain(voxels, subject)
        signal = voxels.squeeze(1) if steps == 1 else voxels
        torch.testing.assert_close(
            converted.encoder.adapter(key)(signal).reshape(4, steps, -1), wanted.pop("ridge"), **CLOSE
        )
        found = converted.encoder({key: signal})[key]
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name].reshape(value.shape), value, **CLOSE)


def test_all_but_the_schedule_is_taken_over_and_named_in_the_report(saved, tmp_path):
    _, path, tensors = saved()
    report = convert("mindeye2", path, tmp_path / "out")
    assert all(f"`{key}`" in report.text for key in tensors)
    assert report.n_source == len(tensors)
    taken = {key for key in tensors if "noise_scheduler" not in key and "layers.1.0.rotary" not in key}
    assert report.n_left == len(tensors) - len(taken)
    assert "`epoch`" in report.text
    assert (tmp_path / "out" / "report.md").read_text() == report.text


def test_without_a_prior_there_is_none(saved, tmp_path):
    _, path, _ = saved(prior=False)
    assert "no prior" in convert("mindeye2", path, tmp_path / "out").text
    assert load(tmp_path / "out").prior is None


def test_dims_are_asked_for_where_no_shape_tells(saved, tmp_path):
    _, path, _ = saved("no retrieval head", prior=False)
    with pytest.raises(checks.ConfigError, match="set dims"):
        convert("mindeye2", path, tmp_path / "out")
    convert("mindeye2", path, tmp_path / "out", dims=8)
    assert load(tmp_path / "out").design.outputs["backbone"] == (3, 8)


def test_the_prior_is_loaded_with_the_checkpoint_s_numbers(saved, tmp_path):
    _, path, tensors = saved()
    convert("mindeye2", path, tmp_path / "out")
    prior = load(tmp_path / "out").prior
    assert torch.equal(
        prior.network.out.weight, tensors["diffusion_prior.net.causal_transformer.project_out.weight"]
    )
    drawn = prior.sample(torch.randn(2, 5, 12), generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (1, 2, 5, 12)
    assert drawn.isfinite().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone.clip_proj.5.bias": None}, r"missing: backbone\.clip_proj\.5\.bias"),
        ({"ridge.linears.1.weight": None}, r"no tensor 'ridge\.linears\.1\.weight'"),
        ({"ridge.linears.1.weight": None, "ridge.linears.1.bias": None}, r"places \[0, 2\]"),
        ({"backbone.extra.weight": torch.zeros(2)}, r"unknown: backbone\.extra\.weight \(2,\)"),
        ({"backbone.mixer_blocks1.0.0.weight": torch.zeros(3)}, r"shape: backbone\.mixer_blocks1\.0\.0\.weight"),
        ({"backbone.backbone_linear.weight": None}, r"no tensor 'backbone\.backbone_linear\.weight'"),
        ({"ridge.linears.0.bias": torch.full((20,), torch.nan)}, r"sub-01_fmri\.linear\.bias holds 20 NaN"),
        ({"diffusion_prior.net.learned_query": None}, "learned_query"),
        ({"diffusion_prior.net.more": torch.zeros(2)}, r"diffusion_prior\.net\.more"),
        ({"backbone.bnorm.weight": torch.zeros(63)}, "no 63 square maps"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_not_quite_it_is_refused_and_nothing_is_written(saved, tmp_path, change, said):
    _, path, _ = saved(**change)
    with pytest.raises(ValueError, match=said):
        convert("mindeye2", path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_nsd_s_subjects_are_told_by_their_voxels():
    counts = list(mindeye2.NSD_VOXELS.values())
    assert mindeye2._subjects(counts[1:], None)[0] == [2, 3, 4, 5, 6, 7, 8]
    assert mindeye2._subjects([counts[4]], None)[0] == [5]
    assert mindeye2._subjects([counts[4], 99], None)[0] == [1, 2]


def test_subjects_may_be_named(saved, tmp_path):
    _, path, _ = saved()
    convert("mindeye2", path, tmp_path / "out", subjects=(2, 5, 7))
    assert load(tmp_path / "out").encoder.keys == ("sub-02_fmri", "sub-05_fmri", "sub-07_fmri")


@pytest.mark.parametrize("subjects", [(1, 2), (1, 1, 2), (0, 1, 2)])
def test_subjects_that_do_not_fit_are_refused(saved, tmp_path, subjects):
    _, path, _ = saved()
    with pytest.raises(ValueError, match="subjects"):
        convert("mindeye2", path, tmp_path / "out", subjects=subjects)


@torch.no_grad()
def test_tokens_are_an_affine_map_of_the_voxels_of_the_hidden_layer_s_rank(saved, tmp_path):
    plain, path, _ = saved()
    convert("mindeye2", path, tmp_path / "out")
    found = mindeye2.affine_map(load(tmp_path / "out"), "sub-03_fmri")
    voxels = torch.randn(40, 9)
    tokens = (voxels @ found.right.T) @ found.left.T + found.bias
    torch.testing.assert_close(tokens, plain(voxels.unsqueeze(1), 2)["backbone"].flatten(1), **CLOSE)
    assert found.left.shape == (60, 20)
    assert torch.linalg.matrix_rank(found.left @ found.right) <= 9


@torch.no_grad()
def test_at_two_steps_tokens_are_no_affine_map(saved, tmp_path):
    _, path, _ = saved("two steps")
    convert("mindeye2", path, tmp_path / "out")
    with pytest.raises(checks.ConfigError, match="affine"):
        mindeye2.affine_map(load(tmp_path / "out"), "sub-01_fmri")
