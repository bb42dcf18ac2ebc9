"""A map of embeddings to judgements: worth what was planted, nothing where nothing was; no stimulus on both sides."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec.evaluate import human_aligned
from braindec.maths.odd_one_out import Judgements, pair_similarities
from braindec.targets import tiny_openclip
from braindec.types import Embeddings

N, N_TRAIN, DIM = 70, 50, 8
IDS = tuple(f"s{i:02d}" for i in range(N))
QUICK = human_aligned.Settings(penalties=(0.1,), n_components=None, n_null=3)


def judged(x, weights, rows, n, generator):
    """Judgements of random triplets of some rows; people see features in other weights."""
    seen = x * weights.sqrt()
    triplets = rows[torch.rand(n, len(rows), generator=generator).topk(3, 1).indices].repeat_interleave(3, 0)
    likely = pair_similarities(seen, triplets).softmax(1)
    return Judgements(triplets, torch.multinomial(likely, 1, generator=generator)[:, 0])


def world(generator, weights):
    """Embeddings, judgements of training and of test stimuli."""
    x = torch.randn(N, DIM, generator=generator, dtype=torch.float64)
    embeddings = Embeddings(IDS, x[:, None].numpy().astype(np.float32), "planted", {}, "0" * 64)
    learnt = judged(x, weights, torch.arange(N_TRAIN), 1500, generator)
    asked = judged(x, weights, torch.arange(N_TRAIN, N), 400, generator)
    return embeddings, SimpleNamespace(stimulus_ids=IDS), learnt, asked


def by_system(found):
    return {s.system: s for s in found.scores if s.name == "odd_one_out"}


def test_a_planted_weighing_is_worth_more_than_the_space_as_it_is_and_than_judgements_of_others(generator):
    weights = torch.tensor([3.0, 3.0, *[0.05] * (DIM - 2)], dtype=torch.float64)
    found = human_aligned.align(*world(generator, weights), QUICK)
    score = by_system(found)["braindec"]
    assert score.value > score.details["of_as_it_is"] + 0.1
    assert score.value > max(score.null, by_system(found)["shuffled"].interval[1]) + 0.1
    assert (score.chance, score.n, score.null_n) == (pytest.approx(1 / 3), N - N_TRAIN, 3)
    assert found.people.lower - 0.05 < score.value < score.ceiling and score.ceiling_kind == "repeatability"


def test_people_who_see_the_space_as_it_is_gain_nothing_by_a_map(generator):
    found = human_aligned.align(*world(generator, torch.ones(DIM, dtype=torch.float64)), QUICK)
    score = by_system(found)["braindec"]
    assert score.value == pytest.approx(score.details["of_as_it_is"], abs=0.03)


def test_people_who_guess_are_predicted_at_chance(generator):
    found = human_aligned.align(*world(generator, torch.zeros(DIM, dtype=torch.float64)), QUICK)
    assert by_system(found)["braindec"].value == pytest.approx(1 / 3, abs=0.06)


def test_a_concept_in_both_sets_of_judgements_is_refused(generator):
    embeddings, dataset, learnt, asked = world(generator, torch.ones(DIM, dtype=torch.float64))
    with pytest.raises(ValueError, match="50 units are in both"):
        human_aligned.align(embeddings, dataset, learnt, learnt, QUICK)
    concepts = np.arange(N) % 35  # test stimuli show concepts of training stimuli
    with pytest.raises(ValueError, match="units are in both"):
        human_aligned.align(embeddings, dataset, learnt, asked, QUICK, units=concepts)


def test_the_shipped_target_takes_the_saved_map(generator, tmp_path, rng):
    pictures = list(rng.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8))
    plain = tiny_openclip.build(tiny_openclip.Config(normalised=False))
    values = plain.embed_images(pictures)
    ids = IDS[:9]
    embeddings = Embeddings(ids, values, plain.space, {}, "0" * 64)
    x = torch.from_numpy(values[:, 0]).double()
    weights = torch.ones(x.shape[1], dtype=torch.float64) / x.shape[1]
    learnt, asked = (
        judged(x, weights, rows, 60, generator) for rows in (torch.arange(5), torch.arange(5, 9))
    )
    dataset = SimpleNamespace(stimulus_ids=ids)
    found = human_aligned.align(embeddings, dataset, learnt, asked, QUICK)
    file = found.save(tmp_path / "human.safetensors")
    mapped = tiny_openclip.build(tiny_openclip.Config(normalised=False, aligned=str(file)))
    expected = found.metric.apply(torch.from_numpy(values[:, 0])).numpy()
    np.testing.assert_allclose(mapped.embed_images(pictures)[:, 0], expected, atol=1e-4)
    assert mapped.space != plain.space


def test_scores_of_brains_are_filed_under_their_subject_however_large_its_number(generator):
    embeddings, dataset, learnt, asked = world(generator, torch.ones(DIM, dtype=torch.float64))
    aligned = human_aligned.align(embeddings, dataset, learnt, asked, QUICK)
    key, test = "sub-123_fmri", IDS[N_TRAIN:]
    trials = SimpleNamespace(subject=123, modality="fmri")
    part = SimpleNamespace(stimulus_ids=test, trials={key: trials})
    whole = SimpleNamespace(part=lambda name: part, keys=(key,))
    mean = embeddings.values.mean(0)
    told = SimpleNamespace(
        values=lambda name, key, ids: embeddings.of(ids), means={"mapped": mean, "as it is": mean}
    )
    found, _, _ = human_aligned.from_brains(
        aligned, told, [told], {"mapped": embeddings, "as it is": embeddings}, whole
    )
    assert {s.subject for s in found} == {123}
