"""Sites of a planted federation: other channels at each, one map from few latents to the embedding behind all of them.

Also a site's own process: ``python federated_sites.py NAME FOLDER ANSWERS`` serves site NAME from FOLDER and saves what
its decoder predicts for its test trials to ANSWERS.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.decoder.federated import Config
from braindec.decoder.mailbox import serve
from braindec.decoder.site import Site
from braindec.losses import mse
from braindec.train import Config as Train
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

N_LATENTS, N_DIMS, N_TEST = 3, 12, 60
SETTINGS = Settings(
    linear.Config(shared_dim=6),
    mlp.Config(width=48, n_blocks=1, dropout=0.0, skip_linear=False),
    mse.Config(),
    preprocessing=(Standardise(),),
    train=Train(batch_size=64, lr=3e-3, ridge_start=False, repeats="single", device="cpu"),
    n_folds=0,
    calibrate=False,
)
TOLD = Config(rounds=4, local_steps=5)


def world(
    n_sites: int = 2, n_train: int = 40, seed: int = 0
) -> tuple[dict[str, NeuralDataset], dict[str, Embeddings]]:
    """By site, one person with 20, 24, 28, ... channels and stimuli that no other site shows."""
    rng = np.random.default_rng(seed)
    inner, outer = rng.standard_normal((N_LATENTS, 24)), rng.standard_normal((24, N_DIMS)) / 5
    datasets, embeddings = {}, {}
    for number in range(n_sites):
        name, n_channels, n = f"site-{number}", 20 + 4 * number, n_train + number + N_TEST
        latents = rng.standard_normal((n, N_LATENTS))
        values = (np.tanh(latents @ inner) @ outer).astype(np.float32)[:, None]
        mixing = rng.standard_normal((N_LATENTS, n_channels))
        responses = latents @ mixing + 0.5 * rng.standard_normal((n, n_channels))
        ids = tuple(f"picture-{name}-{i:03d}" for i in range(n))
        at = np.arange(n)
        table = Table({
            "stimulus_id": np.array(ids), "session": np.ones(n, int), "run": at // 20, "repeat": np.zeros(n, int),
            "onset_s": 3.0 * (at % 20), "acquisition_order": at, "exchangeability_block": np.ones(n, int),
        })  # fmt: skip
        trials = Trials(
            responses.astype(np.float32), table, ArraySpace(n_channels), "a.u.", number + 1, "fmri"
        )
        split = Split("default", "stimulus", {"train": ids[N_TEST:], "test": ids[:N_TEST]})
        datasets[name] = NeuralDataset.from_trials([trials], StimulusSet(ids, "none"), split)
        embeddings[name] = Embeddings(ids, values, "planted", {"model": "planted"}, "0" * 64)
    return datasets, embeddings


def site(
    name: str, told: Config = TOLD, settings: Settings = SETTINGS, folder: Path | None = None, **given
) -> Site:
    """One site of `world`."""
    datasets, embeddings = world(**given)
    part = datasets[name].part("train")
    decoder = BrainDecoder.build(settings, part.info, embeddings[name].info)
    return Site(decoder, part, embeddings[name], told, folder=folder)


def predicted(decoder: BrainDecoder, dataset: NeuralDataset) -> np.ndarray:
    """Embeddings of the test trials."""
    (trials,) = dataset.part("test").trials.values()
    return decoder.predict(trials).values


def explained(decoder: BrainDecoder, dataset: NeuralDataset, embeddings: Embeddings) -> float:
    """Share of the variance of held-out embeddings."""
    (trials,) = dataset.part("test").trials.values()
    truth, made = embeddings.of(trials.table["stimulus_id"].tolist()), predicted(decoder, dataset)
    return 1 - float(np.square(made - truth).sum() / np.square(truth - truth.mean(0)).sum())


def shuffled(dataset: NeuralDataset, seed: int = 0) -> NeuralDataset:
    """The training pairs permuted."""
    part = dataset.part("train")
    ((key, trials),) = part.trials.items()
    ids = np.random.default_rng(seed).permutation(trials.table["stimulus_id"])
    return replace(part, trials={key: replace(trials, table=trials.table.replace(stimulus_id=ids))})


if __name__ == "__main__":
    here, place, answers = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    fitted = serve(site(here), place, patience_s=120, every_s=0.02)
    np.save(answers, predicted(fitted, world()[0][here]))
