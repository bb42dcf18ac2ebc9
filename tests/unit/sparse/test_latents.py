"""Top stimuli, names, search and steering of latents whose meaning is planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from braindec.sparse import Config, SparseAutoencoder, baselines, dictionary, latents

N_LATENTS, N_DIMS = 12, 24


@pytest.fixture
def model():
    """Orthogonal atoms, so that a code is what was put in."""
    model = SparseAutoencoder(N_DIMS, Config(N_LATENTS, "relu")).eval()
    with torch.no_grad():
        model.atoms.copy_(torch.eye(N_DIMS)[:N_LATENTS])
        model.encoder.copy_(model.atoms)
        model.bias.fill_(0.5)
    return model


@pytest.fixture
def codes(generator):
    size = (300, N_LATENTS)
    return (torch.rand(size, generator=generator) < 0.1) * (0.2 + torch.rand(size, generator=generator))


@pytest.fixture
def inputs(model, codes, generator):
    noise = torch.randn(300, N_DIMS - N_LATENTS, generator=generator) @ torch.eye(N_DIMS)[N_LATENTS:]
    return (codes @ model.atoms + model.bias + 0.1 * noise).detach()


@pytest.mark.parametrize("block", [7, 100, 4096])
def test_top_stimuli_by_block_are_those_of_the_whole_matrix(model, inputs, block):
    whole = dictionary.activations(model, inputs)
    found = latents.top_stimuli(model, inputs, 5, block=block)
    assert torch.equal(found.values, whole.topk(5, dim=0).values.T)
    assert torch.equal(whole.T.gather(1, found.stimuli), found.values)


def test_places_without_an_active_stimulus_are_marked(model, inputs):
    with torch.no_grad():
        model.encoder_bias[3] = -100
    found = latents.top_stimuli(model, inputs[:9], 20)
    assert (found.stimuli[3] == -1).all() and (found.values[3] == 0).all()
    assert found.stimuli.shape == (N_LATENTS, 9)


def test_an_edited_latent_changes_and_the_rest_of_the_embedding_stays(model, inputs):
    out = latents.steer(model, inputs, {2: 3.0, 5: 0.0})
    after, before = dictionary.activations(model, out), dictionary.activations(model, inputs)
    assert torch.allclose(after[:, 2], torch.tensor(3.0), atol=1e-5)
    assert torch.allclose(after[:, 5], torch.tensor(0.0), atol=1e-5)
    others = [i for i in range(N_LATENTS) if i not in (2, 5)]
    torch.testing.assert_close(after[:, others], before[:, others])
    torch.testing.assert_close(out[:, N_LATENTS:], inputs[:, N_LATENTS:])  # what no latent explains
    torch.testing.assert_close(latents.steer(model, inputs, {2: 1.0}, how="scale"), inputs)
    torch.testing.assert_close(latents.steer(model, inputs, {2: 0.0}, how="add"), inputs)


def test_a_latent_is_not_pushed_below_zero_and_norms_and_tokens_are_kept(model, inputs):
    out = latents.steer(model, inputs, {2: -9.0}, how="add")
    torch.testing.assert_close(out, latents.steer(model, inputs, {2: 0.0}))
    kept = latents.steer(model, inputs, {2: 3.0}, keep_norm=True)
    torch.testing.assert_close(kept.norm(dim=1), inputs.norm(dim=1))
    tokens = inputs.view(100, 3, N_DIMS)
    assert torch.equal(
        latents.steer(model, tokens, {2: 3.0}).view(300, N_DIMS), latents.steer(model, inputs, {2: 3.0})
    )
    with pytest.raises(ValueError, match="latent must lie in"):
        latents.steer(model, inputs, {N_LATENTS: 1.0})


def test_search_finds_stimuli_with_what_is_wanted_and_without_what_is_not(codes):
    found = latents.search(codes, {1: 1.0, 4: -1.0}, 300)
    assert len(found) and (codes[found, 1] > 0).all()
    scaled = codes / codes.amax(0)
    assert (scaled[found, 1] > scaled[found, 4]).all()
    assert latents.search(codes, {1: 1.0}, 3)[0] == codes[:, 1].argmax()
    with pytest.raises(ValueError, match="names no latent"):
        latents.search(codes, {})


def test_latents_of_a_concept_are_those_along_it(model):
    direction = model.atoms[4].detach() + 0.5 * model.atoms[7].detach()
    found = latents.nearest_latents(model.atoms, direction, 5)
    assert list(found) == [4, 7]
    assert found[4] == pytest.approx(1 / 1.25**0.5)


def test_atoms_are_named_by_the_texts_they_were_made_from_and_others_are_not_significant(
    real_data, generator
):
    folder = real_data / "clip_text_lvis"
    texts = torch.from_numpy(np.load(folder / "lvis_v1_clip_a+cname.npy").astype(np.float32))
    words = [c["name"] for c in json.loads((folder / "lvis_v1_train_cat_info.json").read_text())]
    unit = torch.nn.functional.normalize(texts, dim=1)
    which = torch.arange(0, 1200, 60)
    made = (unit - unit.mean(0))[which]
    spread = made.norm(dim=1).mean() / made.shape[1] ** 0.5
    noise = torch.randn(40, 512, generator=generator)
    atoms = torch.cat([made + 1.5 * spread * noise[:20], noise[20:]])
    found = latents.name_atoms(atoms, texts, words, generator=generator)
    right = [words[i] == found.words[k][0] for k, i in enumerate(which.tolist())]
    assert np.mean(right) > 0.9
    assert (found.p[:20] <= 0.002).all()
    assert (found.p[20:] < 0.05).float().mean() <= 0.2


def test_latents_are_named_by_their_stimuli_in_spite_of_a_gap_between_images_and_texts(generator):
    texts = torch.randn(50, N_DIMS, generator=generator)
    unit = torch.nn.functional.normalize(texts, dim=1)
    concept = torch.randint(50, (2000,), generator=generator)
    gap = 3 * torch.nn.functional.normalize(torch.randn(N_DIMS, generator=generator), dim=0)
    images = unit[concept] + 0.1 * torch.randn(2000, N_DIMS, generator=generator) + gap
    active = (concept[:, None] == torch.arange(51)).float()
    top = latents.top_stimuli(baselines.fit("raw", active, 1, seed=0), active, 8)
    found = latents.name_by_stimuli(top, images, texts, [str(i) for i in range(50)], generator=generator)
    assert np.mean([found.words[i][0] == str(i) for i in range(50)]) > 0.95
    assert (found.p[:50] < 0.01).all()
    assert found.p[50] == 1  # never active


def test_the_names_of_random_stimuli_are_at_chance(generator):
    texts, images = (torch.randn(n, N_DIMS, generator=generator) for n in (50, 2000))
    stimuli = torch.stack([torch.randperm(2000, generator=generator)[:8] for _ in range(400)])
    top = latents.Top(stimuli, torch.ones(400, 8))
    found = latents.name_by_stimuli(top, images, texts, [str(i) for i in range(50)], generator=generator)
    assert 0.02 < (found.p <= 0.05).float().mean() < 0.09


def test_latents_of_few_random_stimuli_are_at_chance_too(generator):
    texts = torch.nn.functional.normalize(torch.randn(40, 64, generator=generator), dim=1)
    images = texts[torch.randint(40, (600,), generator=generator)] + 0.08 * torch.randn(
        600, 64, generator=generator
    )
    stimuli = torch.full((400, 16), -1)
    for latent, row in enumerate(stimuli):  # one, two, four or sixteen stimuli, each near a word of its own
        n = (1, 2, 4, 16)[latent % 4]
        row[:n] = torch.randperm(600, generator=generator)[:n]
    top = latents.Top(stimuli, (stimuli >= 0).float())
    found = latents.name_by_stimuli(
        top, images, texts, [str(i) for i in range(40)], generator=generator, n_draws=199
    )
    shares = (found.p <= 0.05).float().view(100, 4).mean(0)
    assert float(shares.max()) < 0.15


def test_a_latent_of_a_signed_dictionary_is_moved_by_as_much_wherever_it_stood(inputs):
    pca = baselines.fit("pca", inputs, 3, seed=0)
    moved = (latents.steer(pca, inputs, {0: -1.0}, how="add") - inputs) @ pca.atoms[0]
    torch.testing.assert_close(moved, -torch.ones(300))
