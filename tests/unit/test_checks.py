"""Every refusal names the argument, what is allowed, what came, and the way out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks


def test_what_is_allowed_is_given_back():
    array = np.ones((2, 3))
    assert checks.one_of("x", "a", ("a", "b")) == "a"
    assert checks.known_key("x", "a", {"a": 1}) == 1
    assert checks.in_range("x", 0.5, 0, 1) == 0.5 and checks.at_least("x", 3, 3) == 3
    assert checks.n_axes("x", array, ("a", "b")) is array and checks.finite("x", array) is array
    assert checks.unique("x", iter("abc")) == ["a", "b", "c"]
    assert checks.same_length("row", a=[1], b="z") == 1 and checks.of_type("x", 1, (int, str)) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: checks.one_of("loss", "soft-clip", ["clip", "soft_clip"]),
            ["loss", "'clip'", "'soft-clip'", "Did you mean"],
        ),
        (
            lambda: checks.known_key("region", "v2", {"v1": 0}),
            ["region", "'v1'", "'v2'", "Did you mean 'v1'"],
        ),
        (lambda: checks.in_range("share", 1.5, 0, 1), ["share", "[0, 1]", "1.5"]),
        (lambda: checks.in_range("rate", float("nan"), 0, 1, unit="Hz"), ["rate", "Hz", "nan"]),
        (lambda: checks.at_least("n", float("nan"), 1), ["n", "1", "nan"]),
        (
            lambda: checks.same_length("trial", brain=[1, 2], target=[1]),
            ["brain", "2", "'trial'", "target", "1"],
        ),
        (lambda: checks.n_axes("x", np.ones(3), ("trial", "voxel")), ["x", "(trial, voxel)", "(3,)"]),
        (lambda: checks.finite("x", np.array([1, np.nan, np.inf])), ["x", "2 NaN or infinite of 3", "(1,)"]),
        (lambda: checks.finite("x", torch.tensor([[float("inf")]])), ["x", "1 NaN", "(0, 0)"]),
        (lambda: checks.unique("ids", "abca"), ["ids", "'a'"]),
    ],
)
def test_a_refused_value_is_explained(call, words):
    with pytest.raises(ValueError) as raised:
        call()
    for word in words:
        assert word in str(raised.value)


def test_a_wrong_kind_is_a_type_error():
    with pytest.raises(TypeError, match="step must be int or str, got list"):
        checks.of_type("step", [], (int, str))


def test_a_missing_file_is_answered_with_the_way_out_and_its_neighbour(tmp_path):
    (tmp_path / "dataset.json").touch()
    with pytest.raises(FileNotFoundError, match=r"Make it\. Did you mean 'dataset\.json'"):
        checks.existing_file(tmp_path / "datset.json", "Make it.")
    with pytest.raises(FileNotFoundError, match="Make it"):
        checks.existing_folder(tmp_path / "dataset.json", "Make it.")


def test_our_errors_can_be_caught_as_python_errors_too():
    assert issubclass(checks.DataFileError, ValueError) and issubclass(checks.DownloadError, OSError)
    assert issubclass(checks.MissingPackageError, ImportError)
    assert "pip install 'braindec[demo]'" in str(checks.needs_package("x", "demo", "The demo"))
    with pytest.raises(checks.SpaceMismatchError, match=r"data is a, expected b\. Convert it\."):
        checks.same_space("data", "a", "b", "Convert it.")


@pytest.mark.parametrize(
    "said, allowed",
    [("sub-02_fmri", ["sub-01_fmri"]), ("11", ["1"]), ("99", ["9"]), ("model.npz", ["mel", "vae"])],
)
def test_another_number_and_a_far_shorter_name_are_no_misspelling(said, allowed):
    with pytest.raises(checks.ConfigError) as raised:
        checks.one_of("subject", said, allowed)
    assert "Did you mean" not in str(raised.value)


def test_a_misspelt_name_with_a_digit_is_still_guessed():
    with pytest.raises(checks.ConfigError, match="Did you mean 'sub-01_fmri'"):
        checks.one_of("signal", "sub-1_fmri", ["sub-01_fmri", "sub-02_fmri"])
    with pytest.raises(checks.ConfigError, match="Did you mean 'clip_vit_l14'"):
        checks.one_of("target", "clip_vit_114", ["clip_vit_l14", "pixels"])


@pytest.mark.parametrize("said, meant", [("fMRI", "fmri"), ("FMRI", "fmri"), ("Meg", "meg"), ("eegg", "eeg")])
def test_a_name_in_other_letters_is_guessed(said, meant):
    with pytest.raises(checks.ConfigError, match=f"Did you mean {meant!r}"):
        checks.one_of("modality", said, ["fmri", "eeg", "meg"])
