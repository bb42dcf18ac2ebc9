"""What every member does on another device than the CPU: the same.

Run by `test_devices.py` in a process of its own: the device cannot be taken away again.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace

import numpy as np
import pretended
import pytest
import test_adapters
import test_backbones
import test_losses
import test_metrics
import test_priors
import test_similarity
import test_targets
import torch
from pretended import DEVICE
from test_targets import target  # noqa: F401  # a fixture
from torch import Tensor

from braindec import encoding, rdm, registry, sparse, train
from braindec.adapters import linear as linear_adapter
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import soft_clip
from braindec.maths.nearest import ranks_in
from braindec.metrics.collapse import effective_rank
from braindec.priors import diffusion
from braindec.sparse import autoencoder
from braindec.targets import LabelTarget

pretended.take_over()


def there(x):
    """The same on the other device."""
    return x.to(DEVICE) if isinstance(x, Tensor) else x


def test_the_device_refuses_what_a_gpu_refuses():
    x = torch.ones(3, device=DEVICE)
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        torch.arange(3)[x.long()]
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, generator=torch.Generator(), device=DEVICE)
    with pytest.raises(RuntimeError, match="numpy"):
        x.numpy()
    assert float((x + torch.tensor(1.0)).sum()) == 6 and x[torch.tensor([0, 2])].shape == (2,)


def gradients(module, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the sum of squares of all outputs, on the CPU."""
    total = torch.stack([v.square().sum() for v in outputs.values()]).sum()
    if total.requires_grad:  # an adapter may have nothing to learn
        total.backward()
    return {name: p.grad.cpu() for name, p in module.named_parameters() if p.grad is not None}


def computed(module, *given) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs and gradients of a module that gives a tensor or several."""
    found = module(*given)
    found = found if isinstance(found, dict) else {"": found}
    return {k: v.detach().cpu() for k, v in found.items()}, gradients(module, found)


def alike(module, *given) -> None:
    """A module computes the same here and there."""
    other = copy.deepcopy(module).to(DEVICE)
    torch.testing.assert_close(
        computed(other, *map(there, given)), computed(module, *given), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("name", test_adapters.NAMES)
def test_an_adapter(name, signals):
    for signal, alone in test_adapters.accepted(name, signals):
        alike(alone.eval(), test_adapters.some(signal))


@pytest.mark.parametrize("name", test_backbones.NAMES)
def test_a_backbone(name):
    for shape, backbone in test_backbones.accepted(name):
        alike(backbone.eval(), test_backbones.some(shape))


@pytest.mark.parametrize("progress", [0.0, 1.0])
@pytest.mark.parametrize("name", test_losses.NAMES)
def test_a_loss(name, progress):
    module = registry.load("losses", name)
    truth = torch.randn(12, 12, generator=torch.Generator().manual_seed(3)).softmax(1).unsqueeze(1)
    found = []
    for place in (torch.device("cpu"), DEVICE):
        loss = module.build(module.Config()).to(place)
        prediction = test_losses.prediction_of(truth).to(place).requires_grad_()
        mix = loss.draw_mix(12, progress, torch.Generator(place).manual_seed(1))
        value = loss(prediction, truth.to(place), torch.arange(12, device=place), progress, mix)
        value.backward()
        found.append((value.detach().cpu(), prediction.grad.cpu()))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "shape"), test_priors.CASES)
def test_a_prior(name, shape):
    brain, image = test_priors.pairs(shape)
    found = []
    for place in (torch.device("cpu"), DEVICE):
        prior = test_priors.build(name, shape)
        prior.start_(brain, image)
        prior = prior.eval().to(place)
        draw = torch.Generator(place).manual_seed(1)
        asked = prior.objective(brain.to(place), image.to(place), draw)
        # Samples are drawn by the CPU wherever the weights are, so that a seed means the same pictures everywhere.
        samples = prior.sample(brain[:5].to(place), generator=torch.Generator().manual_seed(2), n_steps=2)
        found.append((asked.detach().cpu(), samples.cpu()))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", test_metrics.NAMES)
def test_a_metric(name, generator):
    metric = test_metrics.computed(name)
    given = test_metrics.inputs(metric, generator)
    torch.testing.assert_close(
        metric.per_sample(*map(there, given)).cpu(), metric.per_sample(*given), rtol=0, atol=1e-9
    )


def test_ranks_of_truths_that_stayed_behind_and_the_rank_of_wide_values(generator):
    x, truth = torch.rand(5, 9, generator=generator), torch.arange(5)
    assert [r.tolist() for r in ranks_in(there(x), truth)] == [r.tolist() for r in ranks_in(x, truth)]
    assert effective_rank(there(x)) == pytest.approx(effective_rank(x))


@pytest.mark.parametrize("name", test_similarity.NAMES)
def test_a_measure_of_similarity(name, generator):
    x, y = test_similarity.related(generator)
    measure = test_similarity.MEASURES[name]
    assert float(measure(there(x), there(y))) == pytest.approx(float(measure(x, y)), abs=1e-9)


@pytest.mark.parametrize("measure", rdm.calculate.MEASURES)
def test_distances_of_patterns(measure, generator):
    x = torch.rand(24, 30, generator=generator, dtype=torch.float64) + 0.1
    condition, run = [f"c{i}" for i in torch.arange(24).remainder(6).tolist()], [i // 12 for i in range(24)]
    asked = {"measure": measure, **({"run": run} if measure in rdm.calculate.CROSS_RUN else {})}
    here, other = (rdm.dissimilarity(values, condition, **asked) for values in (x, there(x)))
    torch.testing.assert_close(other.distances.cpu(), here.distances, rtol=1e-9, atol=1e-12)


def test_voxelwise_encoding(generator):
    x, y = torch.randn(60, 9, generator=generator), torch.randn(60, 20, generator=generator)
    here, other = encoding.fit(x, y), encoding.fit(there(x), there(y))
    torch.testing.assert_close(other.weights.cpu(), here.weights, rtol=1e-4, atol=1e-5)
    found = [
        encoding.significance(place(y), place(y + x[:, :1]), 20, np.random.default_rng(0))
        for place in (lambda values: values, there)
    ]
    np.testing.assert_allclose(found[1].p, found[0].p)


def test_a_sparse_autoencoder(generator):
    rows = torch.randn(300, 12, generator=generator)
    shape = autoencoder.Config(n_latents=24, n_active=3)
    fits = [
        sparse.fit(
            rows, shape, sparse.FitConfig(n_steps=20, batch_size=32, device=device), seed=0, progress=False
        )
        for device in ("cpu", "auto")
    ]
    here, other = (fit.model.cpu().state_dict() for fit in fits)
    torch.testing.assert_close(other, here, rtol=1e-5, atol=1e-6)


def test_a_decoder_is_trained_and_decodes(planted):
    some = train.Config(n_steps=8, batch_size=32, validate_every=4)
    settings = Settings(
        adapter=linear_adapter.Config(shared_dim=16), backbone=mlp.Config(width=16, n_blocks=1),
        loss=soft_clip.Config(), prior=diffusion.Config(width=16, depth=1, heads=2),
        preprocessing=(Standardise(),), train=some, prior_train=some,
    )  # fmt: skip
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    found = []
    for device in ("cpu", "auto"):
        run = replace(settings, train=replace(some, device=device), prior_train=replace(some, device=device))
        decoder = BrainDecoder.build(run, planted.dataset.info, planted.embeddings.info)
        decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
        found.append(decoder.to(DEVICE if device == "auto" else "cpu").predict(trials))
    np.testing.assert_allclose(found[1].values, found[0].values, rtol=1e-4, atol=1e-5)


def test_a_target(target):  # noqa: F811
    if isinstance(target[0], LabelTarget):  # prototypes are looked up in a table, on no device
        assert "device" not in inspect.signature(target[0].embed).parameters
        return
    here, other = test_targets.embedded(target[0]), test_targets.embedded(target[1], device=str(DEVICE))
    np.testing.assert_allclose(other, here, rtol=1e-3, atol=1e-5)
