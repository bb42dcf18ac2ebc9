"""Someone nobody was trained on is decoded by where voxels lie, with no layer and no training of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from braindec import checks
from braindec.adapters import volume_patches
from braindec.backbones import masked_transformer
from braindec.decoder import adaptation
from braindec.encoder import Encoder
from braindec.types import SignalInfo, SubjectSignal, VoxelSpace

N, DIM = 400, 3
SHAPES = {1: (8, 8, 8), 2: (10, 7, 9), 3: (9, 9, 6)}  # grids of voxels; the head is the same


def recorded(
    subject: int, stimuli: torch.Tensor, generator: torch.Generator
) -> tuple[SubjectSignal, torch.Tensor]:
    """Responses that are fields in the head, one a dimension of the stimulus, and noise."""
    axes = [np.linspace(0, 1, n) for n in SHAPES[subject]]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    fields = torch.from_numpy(np.cos(np.pi * places)).float()  # (voxel, dim)
    signal = SubjectSignal(
        subject,
        "fmri",
        (len(places),),
        VoxelSpace(np.ones(SHAPES[subject], bool), np.diag([*(1 / (np.array(SHAPES[subject]) - 1)), 1])),
    )
    return signal, stimuli @ fields.T + torch.randn(len(stimuli), len(places), generator=generator)


def decoded(shuffled: bool) -> float:
    """Mean correlation of a third person's decoded stimuli after training on two others."""
    generator = torch.Generator().manual_seed(0)
    stimuli = {s: torch.randn(N, DIM, generator=generator) for s in SHAPES}
    made = {s: recorded(s, stimuli[s], generator) for s in SHAPES}
    keys = {s: signal.key for s, (signal, _) in made.items()}
    encoder = Encoder.build(
        SignalInfo({keys[s]: made[s][0] for s in (1, 2)}), {"main": (1, DIM)}, volume_patches.Config((2, 2, 2), 2),
        masked_transformer.Config(patch=8, width=16, n_layers=1, pool="all"), 0,
    )  # fmt: skip
    wanted = {
        s: stimuli[s][torch.randperm(N, generator=generator)] if shuffled else stimuli[s] for s in (1, 2)
    }
    optimiser = torch.optim.Adam(encoder.parameters(), lr=5e-3)
    for _ in range(80):
        found = encoder({keys[s]: made[s][1] for s in (1, 2)})
        loss = sum(mse_loss(found[keys[s]]["main"][:, 0], wanted[s]) for s in (1, 2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    new = encoder.add_subject(made[3][0])
    with pytest.raises(checks.ConfigError, match="nothing to learn"):
        adaptation.trained(encoder, new, "adapter")
    with torch.no_grad():
        third = encoder({keys[3]: made[3][1]})[keys[3]]["main"][:, 0]
    return float(np.mean([np.corrcoef(third[:, i], stimuli[3][:, i])[0, 1] for i in range(DIM)]))


def test_a_new_person_is_decoded_without_training():
    assert decoded(shuffled=False) > 0.8


def test_of_shuffled_pairs_nothing_is_learnt():
    assert decoded(shuffled=True) == pytest.approx(0, abs=0.2)
