"""Captions beside pictures: of the training stimuli, the one whose text lies nearest to what was decoded."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from braindec.evaluate.reconstructions import _Known

N, DIM = 200, 16


def known(texts: np.ndarray, captions: dict[str, str]) -> _Known:
    stimuli = SimpleNamespace(captions=captions)
    training = SimpleNamespace(stimulus_ids=[f"s{i}" for i in range(len(texts))])
    rows = {caption: texts[int(name[1:])] for name, caption in captions.items()}
    target = SimpleNamespace(embed_text=lambda said: np.stack([rows[one] for one in said]))
    embeddings = SimpleNamespace(space="a space")
    return _Known(training, SimpleNamespace(stimuli=stimuli), embeddings, target)


def decoder(mean: np.ndarray) -> SimpleNamespace:
    scaler = SimpleNamespace(mean=torch.from_numpy(mean))
    return SimpleNamespace(main="main", scaler=lambda name: scaler)


def test_the_nearest_caption_is_that_of_a_loop_over_cosines_about_either_mean(rng):
    texts = (rng.standard_normal((N, DIM)) + 2).astype(np.float32)
    told = (rng.standard_normal((90, 1, DIM)) - 1).astype(np.float32)
    mean = told.mean(0)
    captions = {f"s{i}": f"text {i}" for i in range(N) if i % 7}  # not every stimulus has one
    ids = tuple(f"q{i}" for i in range(len(told)))
    found = known(texts, captions).nearest_caption(decoder(mean), SimpleNamespace(ids=ids, values=told))
    have = [i for i in range(N) if i % 7]
    centre = texts[have].astype(np.float64).mean(0)
    wanted = []
    for one in told[:, 0].astype(np.float64) - mean[0]:
        to = [one @ (texts[i] - centre) / np.linalg.norm(texts[i] - centre) for i in have]
        wanted.append(f"text {have[int(np.argmax(to))]}")
    assert list(found) == wanted
    off = known(texts, captions).nearest_caption(decoder(mean * 0), SimpleNamespace(ids=ids, values=told))
    assert np.mean([a == b for a, b in zip(found, off, strict=True)]) < 0.9


def test_without_captions_nothing_is_said(rng):
    told = rng.standard_normal((3, 1, DIM)).astype(np.float32)
    found = known(np.empty((4, DIM)), {}).nearest_caption(
        decoder(told.mean(0)), SimpleNamespace(ids=("a", "b", "c"), values=told)
    )
    assert found == ("", "", "")
