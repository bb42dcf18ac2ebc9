"""Cubes of volumes: whose voxels a row averages, wherever a subject's voxels lie and however large they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import volume_patches
from braindec.backbones import masked_transformer
from braindec.types import ArraySpace, SubjectSignal, VoxelSpace


def signal(mask, affine=None):
    affine = np.eye(4) if affine is None else affine
    return SubjectSignal(1, "fmri", (int(mask.sum()),), VoxelSpace(mask, affine))


def test_each_cell_holds_the_mean_of_the_voxels_in_it():
    mask = np.ones((4, 4, 4), bool)
    config = volume_patches.Config((2, 1, 1), 2)
    values = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    made = volume_patches.build(signal(mask), config)(values)
    volume = values.view(3, 4, 4, 4)
    assert made.shape == (3, 2, 8)
    for cube, (x, y, z) in itertools.product(range(2), itertools.product(range(2), repeat=3)):
        cell = volume[:, 2 * cube + x, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].flatten(1).mean(1)
        torch.testing.assert_close(made[:, cube, 4 * x + 2 * y + z], cell)


def test_a_place_in_the_head_has_one_row_whatever_the_voxels_size_and_order_of_axes():
    where = np.linspace(0, 1, 12)
    fine = np.stack(np.meshgrid(where, where, where, indexing="ij"), -1)[..., 0]  # grows to the right
    coarse = np.transpose(fine[::2, ::2, ::2], (2, 1, 0))[:, :, ::-1].copy()
    turned = np.array(
        [[0, 0, -4.0, 20], [0, 4, 0, 7], [4, 0, 0, 1], [0, 0, 0, 1]]
    )  # x is the last axis, backwards
    config = volume_patches.Config((3, 1, 1), 1)
    rows = [
        volume_patches.build(signal(np.ones(v.shape, bool), a), config)(torch.from_numpy(v.ravel())[None])
        for v, a in ((fine, np.eye(4)), (coarse, turned))
    ]
    assert (rows[0].diff(dim=1) > 0.2).all()
    torch.testing.assert_close(rows[0], rows[1], atol=0.06, rtol=0)


def test_cells_without_voxels_are_zero_and_an_axis_of_one_voxel_has_one_cell():
    mask = np.zeros((5, 1, 5), bool)
    mask[0, 0, 0] = mask[4, 0, 4] = True
    made = volume_patches.build(signal(mask), volume_patches.Config((2, 2, 2), 1))(torch.tensor([[3.0, 5.0]]))
    assert made.flatten().tolist() == [3, 0, 0, 0, 0, 5, 0, 0]


def test_it_makes_a_vision_transformer_over_volumes_in_which_all_weights_are_shared():
    config = volume_patches.Config((2, 2, 2), 2)
    adapters = [volume_patches.build(signal(np.ones(s, bool)), config) for s in ((5, 6, 7), (9, 4, 4))]
    assert {a.shared_shape for a in adapters} == {(8, 8)}
    assert not [p for a in adapters for p in a.parameters()]
    backbone = masked_transformer.build((8, 8), {"clip": (2, 5)}, masked_transformer.Config(patch=8, width=8))
    assert backbone.patches.n == 8
    assert backbone(adapters[1](torch.randn(3, 144)))["clip"].shape == (3, 2, 5)


def test_what_is_no_volume_is_refused():
    with pytest.raises(ValueError, match="voxels of a volume"):
        volume_patches.build(SubjectSignal(1, "fmri", (4,), ArraySpace(4)), volume_patches.Config())
    with pytest.raises(checks.ConfigError, match="three"):
        volume_patches.Config((2, 2))
