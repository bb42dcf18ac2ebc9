"""Pictures are found in a collection that no decoder saw, through an index; responses to others do not find them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, gallery_index
from braindec.data import gallery as galleries
from braindec.quick import QuickDecoder
from braindec.types import Embeddings

N, N_SEEN, DIM = 3000, 300, 32
SETTINGS = gallery_index.Config(n_dims=16, n_codes=4, n_cells=16, n_training=1000, n_probed=6, n_listed=60)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A decoder of 300 stimuli, trials that it was not fitted on, and the index of a collection of 3,000."""
    pytest.importorskip("faiss", reason="needs faiss-cpu: pip install 'braindec[faiss]'")
    rng, names = np.random.default_rng(0), [f"picture-{i:04d}" for i in range(N)]
    values = rng.standard_normal((N, 1, DIM)).astype(np.float32) + 0.5
    embeddings = Embeddings.from_arrays(names[:N_SEEN], values[:N_SEEN], "toy")
    responses = values[:N_SEEN, 0] @ rng.standard_normal((DIM, 120)) + rng.standard_normal((N_SEEN, 120))
    dataset = NeuralDataset.from_arrays(responses, names[:N_SEEN], modality="fmri").hold_out("stimulus", 0.2)
    decoder = QuickDecoder(nuisance=()).fit(dataset, embeddings).decoder
    folder = tmp_path_factory.mktemp("collection")
    made = galleries.write(folder / "rows", [(names, values)], space="toy", shard_rows=1100)
    index = gallery_index.build(made, folder / "index", SETTINGS)
    return decoder, dataset.part("test").trials["sub-01_fmri"], made, index


@pytest.mark.slow
def test_an_index_of_a_collection_finds_what_was_seen_as_the_whole_collection_does_and_shuffled_responses_do_not(
    world,
):
    decoder, trials, made, index = world
    found, near = decoder.retrieve(trials, index, k=5)
    whole, _ = decoder.retrieve(trials, made, k=5)
    shown = np.array(trials.table["stimulus_id"])
    first = np.array([ids[0] for ids in found])
    assert np.mean(first == shown) > 0.9
    assert np.mean(first == [ids[0] for ids in whole]) > 0.9
    assert np.mean(first == np.roll(shown, 1)) < 0.05  # chance 1 / 3,000
    assert (np.diff(near, axis=1) <= 1e-6).all()


@pytest.mark.slow
def test_an_index_of_another_space_is_refused(world):
    decoder, trials, made, index = world
    with pytest.raises(checks.SpaceMismatchError):
        decoder.retrieve(trials, replace(index, gallery=replace(made, space="another")), k=5)
