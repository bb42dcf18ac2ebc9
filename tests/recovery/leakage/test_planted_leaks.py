"""Leaks that the field has published are planted one by one; each is found, and named as what it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset, leakage, splits
from braindec.data.leakage import Case
from braindec.data.leakage.pictures import APART, worst_difference
from braindec.data.preprocessing import Preprocessing, Standardise, Step, Whiten
from braindec.decoder import BrainDecoder, Settings
from braindec.evaluate import cross_decode, cross_validate, protocol_named
from braindec.evaluate.audit import audit_splits, audited_split, tell
from braindec.losses import mse
from braindec.ranks import Ranks
from braindec.train import Config
from braindec.types import Embeddings

from .conftest import CLEAN, World, make

KEY = "sub-01_fmri"


def by_stimulus(dataset: NeuralDataset, seed: int = 0) -> splits.Split:
    return splits.hold_out(dataset, "stimulus", 0.25, np.random.default_rng(seed))


def kinds(audit) -> set[str]:
    return {finding.kind for finding in audit.leaks}


def audit_of(dataset: NeuralDataset, split=None, **given):
    return audit_splits(dataset, [split or by_stimulus(dataset)], **given)


def with_betas(**entries: object) -> NeuralDataset:
    return make(World(), betas={**CLEAN["betas"], **entries})


def embeddings_of(dataset: NeuralDataset) -> Embeddings:
    values = np.random.default_rng(5).standard_normal((len(dataset.stimuli.ids), 1, 8)).astype(np.float32)
    return Embeddings(dataset.stimuli.ids, values, "planted", {"model": "planted"}, "0" * 64)


def fitted_on(part: NeuralDataset, **settings: object) -> BrainDecoder:
    chosen = Settings(
        linear_adapter.Config(shared_dim=8), linear.Config(), mse.Config(), calibrate=False,
        train=Config(n_steps=2, batch_size=32, validate_every=1, device="cpu"), **settings,
    )  # fmt: skip
    embeddings = embeddings_of(part)
    return BrainDecoder.build(chosen, part.info, embeddings.info).fit(part, embeddings, progress=False)


def test_test_trials_within_training():
    dataset = make(World())
    whole = dataset.with_split(by_stimulus(dataset))
    audit = leakage.audit([Case(whole, whole.part("test"), claim="stimulus")])
    assert {"shared_trials", "repeats", "stimulus_overlap"} <= kinds(audit)


def test_trials_that_were_doubled_under_new_names_before_the_split():
    """Augmentation or oversampling first, splitting second."""
    dataset = make(World())
    trials = dataset.trials[KEY]
    renamed = np.array([i.replace("picture-000", "picture-001") for i in trials.table["stimulus_id"]])
    values = np.array(trials.responses)
    values[renamed == "picture-001"] = values[renamed == "picture-001"][:1]
    doubled = replace(dataset, trials={KEY: replace(trials, responses=values)})
    parts = {"train": tuple(i for i in dataset.stimuli.ids if i != "picture-001"), "test": ("picture-001",)}
    assert kinds(audit_of(doubled, splits.Split("doubled", "stimulus", parts))) == {"equal_responses"}


def test_repeats_of_a_test_picture_in_training():
    """Trials are dealt by session, and pictures are searched for: whoever remembers finds them."""
    dataset = make(World())
    audit = audit_of(
        dataset, splits.leave_one_out(dataset, "session")[0], protocol=protocol_named("heldout_stimuli")
    )
    assert kinds(audit) == {"repeats", "stimulus_overlap"}
    (found,) = (f for f in audit.leaks if f.kind == "repeats")
    assert found.evidence["share"] > 0.3
    with pytest.raises(checks.LeakageError, match="repeats"):
        audit.refuse()


@pytest.mark.parametrize(
    ("kind", "copy"),
    [
        ("equal_pictures", lambda image: image),
        ("near_pictures", lambda image: np.clip(image * 0.9 + 8, 0, 255).astype(np.uint8)),
    ],
    ids=["equal", "paler"],
)
def test_a_test_picture_in_training_under_another_name(kind, copy):
    audit, shown, hidden = _with_a_copy(copy)
    assert kinds(audit) == {kind}
    examples = str(audit.leaks[0].evidence["examples"])
    assert shown in examples and hidden in examples


def _with_a_copy(copy):
    """The audit of a split one of whose test pictures is made of a training picture; both names."""
    dataset = make(World())
    split = by_stimulus(dataset)
    shown, hidden = split.values("train")[0], split.values("test")[0]
    original = dataset.stimuli

    def read(ids):
        return np.stack(
            [copy(original.images([shown])[0]) if i == hidden else original.images([i])[0] for i in ids]
        )

    return audit_of(replace(dataset, stimuli=replace(original, read=read)), split), shown, hidden


def test_a_mirror_image_in_training_is_warned_of():
    """To a visual cortex it is another stimulus, so it refuses nothing."""
    audit, shown, _ = _with_a_copy(lambda image: image[:, ::-1])
    assert not audit.leaks
    (found,) = (f for f in audit.warnings if f.kind == "near_pictures")
    assert shown in str(found.evidence["examples"])


def test_concepts_of_a_zero_shot_score_in_training():
    dataset = make(World())
    audit = audit_of(dataset, protocol=protocol_named("heldout_concepts"))
    assert kinds(audit) == {"category_overlap"}


def test_a_class_that_is_a_block_in_time():
    """EEG-CVPR40: each class shown in one block, trials dealt at random."""
    dataset = make(World(modality="eeg", order="blocks", spacing_s=1.0))
    audit = audit_of(dataset)
    (found,) = (f for f in audit.leaks if f.kind == "block_design")
    assert found.evidence["mean_recall"] > 0.9
    assert "nuisance" in {f.kind for f in audit.warnings}


def test_windows_that_overlap_within_a_class():
    """A long block cut into overlapping windows, which are then dealt at random."""
    dataset = make(World(modality="eeg", order="blocks", spacing_s=0.3))
    assert "response_windows" in kinds(audit_of(dataset))


def test_windows_that_overlap_in_a_random_order_are_a_warning():
    """Fast presentation: neighbours share samples, but nothing that tells the class."""
    audit = audit_of(make(World(modality="eeg", spacing_s=0.2)))
    assert not audit.leaks and {f.kind for f in audit.warnings} == {"response_windows"}
    slow = with_betas(overlap="kept")
    assert {f.kind for f in audit_of(slow).warnings} == {"response_windows"}


@pytest.mark.parametrize("entry", ["hrf_chosen_on", "noise_regressors_on", "ridge_chosen_on"])
def test_betas_that_were_chosen_with_test_repeats(entry):
    audit = audit_of(with_betas(**{entry: "all"}))
    assert kinds(audit) == {"betas"}
    assert not audit.allowing(("betas",)).leaks


def test_betas_chosen_on_the_training_trials_of_another_split():
    dataset = with_betas(noise_regressors_on="train")
    first, second = by_stimulus(dataset, 0), by_stimulus(dataset, 1)
    told = replace(
        dataset,
        splits={"default": replace(first, name="default")},
        about={**dataset.about, "default_split": "default"},
    )
    assert not audit_of(told, first).leaks
    assert kinds(audit_of(told, second)) == {"betas"}


def test_voxels_selected_by_the_reliability_of_all_trials():
    """Recorded rows are compared with the test rows: nothing is taken on trust."""
    dataset = make(World())
    split = by_stimulus(dataset)
    for part, expected in (
        (dataset, {"feature_selection"}),
        (dataset.with_split(split).part("train"), set()),
    ):
        rows = {key: leakage.rows_record(trials) for key, trials in part.trials.items()}
        told = replace(
            dataset, about={**dataset.about, "features": {"selected_on": rows, "aligned_on": "none"}}
        )
        assert kinds(audit_of(told, split)) == expected


@pytest.mark.parametrize("entry", ["whitened_on", "ica_fitted_on"])
def test_whitening_or_ica_fitted_on_all_trials_while_preparing(entry):
    """THINGS-EEG2 as distributed was whitened with training and test trials."""
    told = make(World(modality="eeg", spacing_s=1.0), epochs={**CLEAN["epochs"], entry: "all"})
    assert kinds(audit_of(told)) == {"joint_fit"}


def test_subjects_aligned_on_all_trials():
    assert kinds(audit_of(make(World(), features={"selected_on": "none", "aligned_on": "all"}))) == {
        "joint_fit"
    }


def test_preprocessing_fitted_on_all_trials(tmp_path):
    """A decoder that saw everything; also once it was saved and loaded."""
    dataset = make(World())
    split = by_stimulus(dataset)
    steps = (Standardise(), Whiten())
    honest = fitted_on(dataset.with_split(split).part("train"), preprocessing=steps)
    assert not audit_of(dataset, split, decoder=honest).leaks
    everything = fitted_on(dataset, preprocessing=steps)
    everything.save_pretrained(tmp_path)
    for decoder in (everything, BrainDecoder.from_pretrained(tmp_path)):
        assert kinds(audit_of(dataset, split, decoder=decoder)) == {"fitted_rows", "model_selection"}


def test_a_model_chosen_on_the_test_part():
    """Fitted on training trials alone, but its settings are those of the best test score."""
    dataset = make(World())
    split = by_stimulus(dataset)
    whole = dataset.with_split(split)
    decoder = fitted_on(whole.part("train"))
    decoder.provenance["chosen_on"] = leakage.chosen_on(whole.part("test"), "best of 40 epochs")
    (found,) = audit_of(dataset, split, decoder=decoder).leaks
    assert found.kind == "model_selection" and "best of 40 epochs" in found.what


def test_held_out_rows_used_without_labels_where_the_protocol_forbids_it():
    dataset = make(World())
    steps = {"fmri": Preprocessing((Standardise(unit="run", scope="unit_unlabelled"),))}
    forbids, allows = (protocol_named(n) for n in ("heldout_stimuli", "leave_one_run_out_categories"))
    assert kinds(audit_of(dataset, steps=steps, protocol=forbids)) == {"transductive"}
    runs = splits.leave_one_out(dataset, "run")[0]
    assert not audit_of(dataset, runs, steps=steps, protocol=allows).leaks


def test_held_out_rows_used_without_labels_are_noted_where_no_protocol_is_named():
    dataset = make(World())
    whole = dataset.with_split(by_stimulus(dataset))
    for scope, expected in (("unit_unlabelled", ["info"]), ("unit_train_rows", [])):
        audit = audited_split(whole, Preprocessing((Standardise(unit="run", scope=scope),)))
        assert [f.severity for f in audit.findings if f.kind == "transductive"] == expected
        assert not audit.leaks and not audit.warnings


def test_head_motion_that_tells_the_class_is_a_warning():
    dataset = make(World())
    trials = dataset.trials[KEY]
    label = splits.stimulus_column(trials, dataset.stimuli, "category")
    moved = trials.table["motion_x"] * 0.01 + np.unique(label, return_inverse=True)[1]
    told = replace(dataset, trials={KEY: replace(trials, table=trials.table.replace(motion_x=moved))})
    audit = audit_of(told)
    assert not audit.leaks and {f.kind for f in audit.warnings} == {"nuisance"}


@dataclass(frozen=True)
class MiniRecipe:
    """What an evaluation reads of a recipe before it fits anything."""

    protocol: str = "heldout_stimuli"
    preprocessing: tuple[Step, ...] = ()
    seed: int = 0


def test_an_evaluation_refuses_a_leak_before_it_fits_anything():
    dataset = with_betas(noise_regressors_on="all")
    with pytest.raises(checks.LeakageError, match="Noise regressors were chosen on all trials"):
        cross_validate(MiniRecipe(), dataset, embeddings_of(dataset), [by_stimulus(dataset)])


def test_a_decoder_of_other_rows_is_refused_when_its_fold_is_judged():
    """A fitter that reaches beyond the training part it is given."""
    dataset = make(World())
    cheat = fitted_on(dataset)
    protocol = protocol_named("heldout_stimuli")
    with pytest.raises(checks.LeakageError, match="fitted_rows"):
        cross_decode(lambda *_: cheat, dataset, embeddings_of(dataset), [by_stimulus(dataset)], protocol, 0)


def test_a_warning_is_printed_and_stops_nothing(capsys):
    audit = audit_of(with_betas(overlap="kept"))
    audit.refuse()
    tell(audit)
    assert "audit: warning (response_windows; sub-01_fmri" in capsys.readouterr().err


def test_a_warning_is_said_once_of_a_dataset_and_by_one_process(capsys, monkeypatch):
    one, other = with_betas(overlap="kept"), with_betas(overlap="kept")
    for dataset in (one, one, other):
        tell(audit_of(dataset), dataset)
    assert capsys.readouterr().err.count("audit: warning (response_windows; sub-01_fmri") == 2
    monkeypatch.setattr(Ranks, "here", classmethod(lambda cls: cls(2, 1)))
    tell(audit_of(one))
    assert not capsys.readouterr().err


def test_a_fit_refuses_a_part_that_reaches_over_its_split():
    dataset = make(World())
    whole = dataset.with_split(by_stimulus(dataset))
    with pytest.raises(checks.LeakageError, match="stimulus"):
        fitted_on(replace(whole, part_name="train"))


def _one_small_object(shape):
    """A picture of a sky with one small purple object."""
    sky = np.linspace(0, 140, 64)[:, None, None] * np.array([0.3, 0.4, 1.0])
    image = np.broadcast_to(sky, (64, 64, 3)).copy()
    y, x = np.mgrid[-6:7, -6:7]
    inside = {"cross": (abs(x) < 2) | (abs(y) < 2), "square": (abs(x) < 4) & (abs(y) < 4)}[shape]
    image[45:58, 30:43][inside] = (160, 40, 220)
    return image.astype(np.uint8)


def test_a_small_object_of_another_shape_is_not_a_copy_and_a_noisy_picture_is():
    cross = _one_small_object("cross")
    noise = np.random.default_rng(0).normal(0, 5, cross.shape)
    noisy = np.clip(cross + noise, 0, 255).astype(np.uint8)
    a, same, other = (
        torch.from_numpy(i).permute(2, 0, 1)[None].float()
        for i in (cross, noisy, _one_small_object("square"))
    )
    assert worst_difference(a, same) < APART < worst_difference(a, other)
