"""Names of latents: from the words nearest to their stimuli, none where no word is near, and what the panels show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from braindec.checks import SpaceMismatchError
from braindec.data import NeuralDataset
from braindec.evaluate import inside_names
from braindec.sparse import Config, SparseAutoencoder, dictionary
from braindec.types import Embeddings

N_DIMS, N_WORDS = 32, 12


@pytest.fixture(scope="module")
def planted():
    """Embeddings of stimuli of one of twelve concepts each, a latent for each, and their text embeddings."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.linalg.qr(torch.randn(N_DIMS, N_WORDS, generator=generator))[0].T
    model = SparseAutoencoder(N_DIMS, Config(N_WORDS, "topk", 1))
    with torch.no_grad():
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms)
    concept = torch.arange(360) % N_WORDS
    values = atoms[concept] + 0.05 * torch.randn(360, N_DIMS, generator=generator)
    ids = tuple(f"s{i:03d}" for i in range(360))
    embeddings = Embeddings(ids, values.numpy()[:, None], "planted", {}, "0")
    return model.eval(), embeddings, inside_names.Words(tuple(f"word {i}" for i in range(N_WORDS)), atoms)


def test_latents_get_the_words_of_their_stimuli(planted):
    found = inside_names.named(*planted, seed=0)
    assert [found[i].split(" / ")[0] for i in range(N_WORDS)] == [f"word {i}" for i in range(N_WORDS)]
    assert found.words().startswith("12 of 12 latents")


def test_words_that_have_nothing_to_do_with_the_stimuli_name_no_more_than_chance(planted, rng):
    model, embeddings, _ = planted
    noise = rng.standard_normal(embeddings.values.shape).astype(np.float32)
    embeddings = Embeddings(embeddings.ids, noise, "planted", {}, "0")
    shares = []
    for seed in range(20):
        values = torch.from_numpy(rng.standard_normal((20, N_DIMS))).float()
        words = inside_names.Words(tuple(f"w{i}" for i in range(20)), values)
        shares.append(len(inside_names.named(model, embeddings, words, seed).certain) / N_WORDS)
    assert np.mean(shares) < 0.12


def test_without_words_latents_keep_their_numbers(planted):
    model, embeddings, _ = planted
    found = inside_names.named(model, embeddings, None, 0)
    assert found[3] == "latent 3" and found.certain == {}


def test_words_of_another_space_are_refused(planted):
    model, embeddings, _ = planted
    with pytest.raises(SpaceMismatchError, match="both sides of one model"):
        inside_names.named(model, embeddings, inside_names.Words(("a", "b"), torch.randn(2, 7)), 0)


def test_words_come_from_a_file(tmp_path: Path):
    path = tmp_path / "words.npz"
    np.savez(path, ids=np.array(["red", "blue"]), values=np.eye(2, 5))
    found = inside_names.from_words(path)
    assert found.words == ("red", "blue") and torch.equal(found.values, torch.eye(2, 5))


def test_words_of_captions_and_neighbouring_pairs_are_candidates_and_small_words_are_not():
    captions = {"a": "a large red circle on a plain grey background", "b": "a red square and a red circle"}
    found = inside_names.vocabulary(captions)
    assert found[0] == "red"
    assert {"red circle", "large red", "plain grey", "grey background", "circle"} <= set(found)
    assert not {"a", "on", "and", "circle on", "square and", "and a"} & set(found)
    assert inside_names.vocabulary(captions, 2) == found[:2]


def test_a_target_without_a_text_side_gives_no_candidates():
    assert inside_names.from_captions("pixels", {"a": "red circle"}) is None
    assert inside_names.from_captions("pixels", {}) is None


def test_panels_show_names_and_the_stimuli_that_they_come_from(planted):
    model, embeddings, _ = planted
    found = inside_names.named(*planted, seed=0)
    often = dictionary.frequencies(model, inside_names.flat(embeddings))
    ((title, kind, payload),) = inside_names.panels(found, embeddings, often)
    assert (title, kind) == ("What latents are called", "table")
    assert len(payload["rows"]) == N_WORDS
    latent, name, p, active, top = payload["rows"][0]
    assert name.startswith(f"word {latent}") and float(p) <= 0.05 and active == "8.3%"
    assert all(int(i[1:]) % N_WORDS == latent for i in top.split(", "))


def test_pictures_stand_beside_names_where_the_dataset_has_them(planted):
    from braindec.types import StimulusSet

    model, embeddings, _ = planted

    class Pictures:
        stimuli = StimulusSet(
            embeddings.ids,
            "image",
            lambda ids: np.stack([np.full((4, 4, 3), int(i[1:]) % 256, np.uint8) for i in ids]),
        )

    dataset: NeuralDataset = Pictures()
    found = inside_names.named(*planted, seed=0)
    often = dictionary.frequencies(model, inside_names.flat(embeddings))
    (_, kind, payload), _ = inside_names.panels(found, embeddings, often, dataset)
    assert kind == "image_grid" and len(payload["rows"]) == 10
    label, pictures = next(iter(payload["rows"].items()))
    latent = int(label.split("(")[1].rstrip(")"))
    assert pictures.shape == (6, 4, 4, 3)
    first = embeddings.ids[int(found.top.stimuli[latent, 0])]
    assert pictures[0, 0, 0, 0] == int(first[1:]) % 256
