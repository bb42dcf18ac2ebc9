"""Few directions a subject and one common map: what is shared, and what a closed-form start keeps of the maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import seeding
from braindec.adapters import linear, low_rank
from braindec.backbones import linear as linear_backbone
from braindec.decoder import BrainDecoder, Settings
from braindec.encoder import Encoder
from braindec.losses import clip
from braindec.train import Config
from braindec.types import ArraySpace, SignalInfo, SubjectSignal


def signal(subject, n_voxels):
    return SubjectSignal(subject, "fmri", (n_voxels,), ArraySpace(n_voxels))


def encoder(config, *voxels):
    signals = [signal(i + 1, n) for i, n in enumerate(voxels)]
    info = SignalInfo({s.key: s for s in signals})
    return Encoder.build(info, {"main": (2, 4)}, config, linear_backbone.Config(), seed=0).eval()


def test_subjects_have_one_map_in_common_and_it_is_stored_once():
    both = encoder(low_rank.Config(shared_dim=10, rank=3), 20, 30)
    names = [name for name, _ in both.named_parameters() if not name.startswith("backbone")]
    assert sorted(names) == [
        "adapters.sub-01_fmri.bias", "adapters.sub-01_fmri.own.weight", "adapters.sub-02_fmri.bias",
        "adapters.sub-02_fmri.own.weight", "shared.low_rank_fmri.weight",
    ]  # fmt: skip
    assert both.adapter("sub-01_fmri").shared is both.adapter("sub-02_fmri").shared


def test_the_map_of_a_subject_has_the_rank_and_no_more():
    adapter = encoder(low_rank.Config(shared_dim=10, rank=3), 20).adapter("sub-01_fmri")
    values = adapter(torch.eye(20)) - adapter(torch.zeros(1, 20))
    assert torch.linalg.matrix_rank(values) == 3


def maps(generator, rank, *voxels):
    common = torch.randn(8, rank, generator=generator)
    return [common @ torch.randn(rank, n, generator=generator) for n in voxels]


@pytest.mark.parametrize("shared_dim", [6, 8, 12])
def test_solutions_of_the_rank_are_kept_whole(generator, shared_dim):
    started = encoder(low_rank.Config(shared_dim=shared_dim, rank=3), 20, 30)
    biases = torch.randn(2, 8, generator=generator) if shared_dim >= 8 else torch.ones(2, 8)
    weights = maps(generator, 3, 20, 30)
    given = {key: (w, b) for key, w, b in zip(started.keys, weights, biases, strict=True)}
    assert started.start_from_ridge_(given) == started.keys
    for key, (weight, bias) in given.items():
        x = torch.randn(5, weight.shape[1], generator=generator)
        expected = (x @ weight.T + bias).unflatten(1, (2, 4))
        torch.testing.assert_close(started({key: x})[key]["main"], expected, atol=1e-4, rtol=1e-4)


def test_solutions_of_higher_rank_lose_as_little_as_an_svd_does(generator):
    started = encoder(low_rank.Config(shared_dim=8, rank=2), 20, 30)
    weights = maps(generator, 4, 20, 30)
    started.start_from_ridge_({k: (w, torch.zeros(8)) for k, w in zip(started.keys, weights, strict=True)})
    path = started.backbone.linear_path("main").weight
    shared = started.shared["low_rank_fmri"].weight
    found = torch.cat([path @ shared @ started.adapter(key).own.weight for key in started.keys], 1)
    whole = torch.cat(weights, 1)
    lost = torch.linalg.svdvals(whole)[2:].square().sum().sqrt()
    torch.testing.assert_close((found - whole).norm(), lost, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("fit", ["gradient", "closed_form"])
def test_a_decoder_without_steps_decodes_through_it_as_through_a_full_map(planted, fit):
    """Its rank is the embeddings' own, so nothing is lost by it."""
    predictions = {}
    for name, adapter in (
        ("low", low_rank.Config(shared_dim=16, rank=16)),
        ("full", linear.Config(shared_dim=16)),
    ):
        train = Config(n_steps=0, device="cpu")
        settings = Settings(
            adapter, linear_backbone.Config(), clip.Config(), train=train, n_folds=0, calibrate=False, fit=fit
        )
        decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
        decoder.fit(planted.dataset.part("train"), planted.embeddings, prior=False, progress=False)
        trials = planted.dataset.part("test").trials["sub-01_fmri"]
        predictions[name] = decoder.predict(trials).values
    np.testing.assert_allclose(predictions["low"], predictions["full"], atol=1e-3)


def test_a_new_subject_started_from_a_map_is_as_close_as_the_shared_map_allows(generator):
    both = encoder(low_rank.Config(shared_dim=8, rank=3), 20, 30)
    both.add_subject(signal(3, 25))
    adapter, shared = both.adapter("sub-03_fmri"), both.shared["low_rank_fmri"].weight.detach()
    wanted = torch.randn(8, 25, generator=generator)
    assert adapter.start_from_(wanted, torch.zeros(8))
    best = shared @ torch.linalg.lstsq(shared, wanted).solution
    torch.testing.assert_close(shared @ adapter.own.weight, best, atol=1e-4, rtol=1e-4)


def test_a_map_that_does_not_fit_and_an_adapter_without_its_part_are_refused():
    both = encoder(low_rank.Config(shared_dim=8, rank=3), 20)
    with pytest.raises(ValueError, match="signal value"):
        both.adapter("sub-01_fmri").start_from_(torch.zeros(2, 7), torch.zeros(2))
    with seeding.seeded(0, "alone"):
        alone = low_rank.build(signal(1, 5), low_rank.Config())
    with pytest.raises(ValueError, match="attach"):
        alone(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="rank"):
        low_rank.Config(shared_dim=4, rank=5)
