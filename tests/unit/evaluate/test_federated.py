"""Sites judged together: each trial by its own site's decoder, against what sharing or staying alone would give."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import train
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise
from braindec.decoder.federated import Config
from braindec.evaluate import Plan, federated
from braindec.evaluate.federated import SiteSettings
from braindec.losses import clip
from braindec.recipe import NeuralData, Recipe

RECIPE = Recipe(
    data=NeuralData("planted"),
    target=None,
    adapter=linear.Config(shared_dim=24),
    backbone=mlp.Config(width=24, n_blocks=1, dropout=0.0),
    loss=clip.Config(),
    preprocessing=(Standardise(),),
    train=train.Config(batch_size=90, lr=5e-3, ridge_start=False, device="cpu"),
    n_folds=0,
    calibrate=False,
    protocol="heldout_stimuli",
    plan=Plan(n_null=2, progress=False),
)
SITES = {"north": SiteSettings((1,), "big"), "south": SiteSettings((2,), "small", every=2)}
TOLD = Config(rounds=6, local_steps=8, grouped=("stem.",))
METRIC = "image_retrieval_top1"


@pytest.fixture(scope="module")
def dataset(planted):
    return federated.with_devices(planted.dataset, SITES)


@pytest.fixture(scope="module")
def studied(planted, dataset):
    """(the study, what `fit_sites` was told each time)."""
    told, fit = [], federated.fit_sites

    def spied(settings, parts, embeddings, *more, **named):
        told.append((parts, embeddings))
        return fit(settings, parts, embeddings, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(federated, "fit_sites", spied)
        found = federated.federated_study(RECIPE, dataset, planted.embeddings, TOLD, SITES, (METRIC,))
    return found, told


def values(study, system):
    return [s.value for s in study.scores if (s.name, s.system) == (METRIC, system) and s.subject != "group"]


def test_a_device_keeps_every_second_channel_and_the_others_all(planted, dataset):
    whole, thinned = (d.trials["sub-02_fmri"] for d in (planted.dataset, dataset))
    np.testing.assert_array_equal(thinned.responses[np.arange(5)], whole.responses[:5, ::2])
    assert thinned.space.n_features == 25
    assert dataset.trials["sub-01_fmri"].space.n_features == 45


def test_sites_are_found_above_chance_and_shuffled_pairs_are_not(studied):
    (study, _), _ = studied
    assert min(values(study, "braindec")) > 0.25
    assert max(values(study, "shuffled")) < 0.15  # chance is 1 of 40
    ours = [s for s in study.scores if (s.name, s.system, s.subject) == (METRIC, "braindec", 1)]
    assert [(s.n, s.chance, s.null_n) for s in ours] == [(40, 1 / 40, 2)]


def test_every_rival_is_compared_by_site_and_over_all(studied):
    (study, _), _ = studied
    keys = ("north: sub-01_fmri", "south: sub-02_fmri", "all sites")
    wanted = {(federated.NAMES[other], key) for other in federated.RIVALS for key in keys}
    assert {(row["b"], row["key"]) for row in study.comparisons} == wanted
    mean = np.mean(np.subtract(values(study, "braindec"), values(study, "scratch")))
    (over,) = (r for r in study.comparisons if (r["b"], r["key"]) == ("each site alone", "all sites"))
    assert over["difference"] == pytest.approx(mean)
    assert over["n"] == 40  # both people saw the same 40 stimuli


def test_a_site_is_told_of_its_own_training_stimuli_and_people_alone(studied, dataset):
    _, told = studied
    train_ids = set(dataset.part("train").stimulus_ids)
    parts, embeddings = told[0]
    assert {name: part.keys for name, part in parts.items()} == {
        "north": ("sub-01_fmri",),
        "south": ("sub-02_fmri",),
    }
    for parts, embeddings in told:
        for name, part in parts.items():
            assert set(embeddings[name].ids) == set(part.stimulus_ids) <= train_ids


def test_the_record_counts_what_was_sent_and_what_stays(studied):
    (study, fitted), _ = studied
    told = study.record["exchange"]
    assert told["rounds"] == 6
    for name, n_channels in (("north", 45), ("south", 25)):
        encoder = fitted.decoders[name].encoder
        row = told["sites"][name]
        assert (
            row["bytes_up"]
            == row["bytes_down"]
            == 6 * 4 * sum(p.numel() for p in encoder.backbone.parameters())
        )
        assert row["weights_that_stay"] == 24 * n_channels + 24  # the adapter
        assert (row["channels"], row["n_trials"]) == ([n_channels], 360)
    panels = federated.exchange_panels(study)
    assert [kind for _, kind, _ in panels] == ["table", "curve"]
    assert "nothing is encrypted" in panels[0][2]["caption"]


def test_each_trial_goes_to_the_decoder_of_its_own_site(studied, dataset):
    (_, fitted), _ = studied
    together, trials = federated.Together(fitted.decoders), dataset.part("test").trials["sub-02_fmri"]
    made = together.predict(trials, repeats="before")
    np.testing.assert_array_equal(
        made.values, fitted.decoders["south"].predict(trials, repeats="before").values
    )
    with pytest.raises(ValueError, match="sub-09"):
        together.of("sub-09_fmri")


def test_a_person_at_two_sites_is_refused_and_so_is_what_a_site_has_not():
    with pytest.raises(ValueError, match="subjects of all sites"):
        federated.sites_of({"a": {"subjects": [1]}, "b": {"subjects": [1, 2]}})
    with pytest.raises(ValueError, match="subject"):
        federated.sites_of({"a": {"subject": [1]}})
