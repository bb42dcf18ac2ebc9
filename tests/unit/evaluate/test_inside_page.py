"""Words of the inside page, and the ceiling of a single subject's distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset
from braindec.evaluate import compare_geometries, inside_geometry, inside_page, inside_timing
from braindec.evaluate.compare_sources import Choices
from braindec.types import SensorSpace, StimulusSet, Table, Trials

IDS = tuple(f"s{i:02d}" for i in range(24))
KEY = "sub-05_eeg"


def recorded(rng, noise, n_repeats=8, n_channels=6, n_times=5):
    """Epochs with a pattern a stimulus from the third sample on, and noise of its own in every trial."""
    pattern = rng.standard_normal((len(IDS), n_channels, 1)) * (np.arange(n_times) >= 2)
    row, repeat = np.tile(np.arange(len(IDS)), n_repeats), np.repeat(np.arange(n_repeats), len(IDS))
    x = pattern[row] + noise * rng.standard_normal((len(row), n_channels, n_times))
    n = len(row)
    table = Table({
        "stimulus_id": np.array(IDS)[row], "session": np.full(n, "1"), "run": repeat.astype(str), "repeat": repeat,
        "onset_s": np.arange(n) * 2.0, "acquisition_order": np.arange(n), "exchangeability_block": np.full(n, "1"),
    })  # fmt: skip
    space = SensorSpace(
        tuple(f"E{i}" for i in range(n_channels)), rng.standard_normal((n_channels, 3)), ("eeg",) * n_channels
    )
    trials = Trials(x.astype(np.float32), table, space, "V", subject=5, modality="eeg", sfreq=10.0, tmin=-0.2)
    stimuli = StimulusSet(IDS, "image", lambda ids: [np.zeros((8, 8, 3), np.uint8) for _ in ids])
    return NeuralDataset.from_trials([trials], stimuli)


def ceiling_of(noise, **more):
    settings = compare_geometries.Settings(choices=Choices(n_times=5, part="all"))
    dataset = recorded(np.random.default_rng(0), noise, **more)
    return inside_geometry.repeat_ceiling(dataset, KEY, IDS, settings)


def test_the_ceiling_of_one_subject_is_high_where_its_repeats_agree_and_low_where_they_do_not():
    clear, noisy = ceiling_of(0.2), ceiling_of(3.0)
    assert clear.shape == (5, 2)
    assert clear[2:].min() > 0.9  # a response
    assert clear[:2].max() < 0.45  # before it
    assert noisy[2:].max() < clear[2:].min()
    assert (clear[:, 0] <= clear[:, 1]).all()  # all repeats say more than half of them
    assert ((clear >= 0) & (clear <= 1)).all()


def test_too_few_repeats_to_halve_give_no_ceiling():
    assert ceiling_of(0.5, n_repeats=3) is None


def test_a_latency_is_given_only_where_a_time_stands_out_of_refits():
    times = torch.linspace(0, 0.5, 11, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    null = 0.1 * torch.randn(19, 1, 2, 11, generator=generator, dtype=torch.float64)
    seen = torch.exp(-(((times - 0.2) / 0.05) ** 2))
    similarity = torch.stack([seen, 0.02 * seen])[None]
    latency, refits = inside_timing._standing_out(similarity, null, times)
    assert abs(float(latency[0, 0]) - 0.2) < 1e-6
    assert bool(latency[0, 1].isnan())
    assert float(refits.isnan().double().mean()) > 0.8  # one of twenty stands out by chance


def test_fewer_than_three_latencies_have_no_order():
    planted, nan = torch.tensor([0.1, 0.16, 0.25]).double(), torch.nan
    assert inside_timing._rho(torch.tensor([[0.1, 0.2, nan]]), planted) == 0.0
    assert inside_timing._rho(torch.tensor([[0.1, 0.2, 0.3]]), planted) == pytest.approx(1)
    assert inside_timing._rho(torch.tensor([[0.3, 0.2, 0.1]]), planted) == pytest.approx(-1)


def test_no_more_is_claimed_of_latents_than_their_baselines_allow():
    none = {"stands": 0, "not above baselines": 7, "not read": 2, "not tested": 3}
    said = inside_page._claimed("sub-01_fmri", none)
    assert "7 of 9 are read from sub-01 fmri" in said
    assert "none of them stands" in said and "not claimed" in said
    some = inside_page._claimed("sub-01_fmri", none | {"stands": 4})
    assert "11 of 13" in some and "only 4 of them stand" in some and "not claimed" not in some


def test_regions_stand_in_the_order_of_vision_with_their_values_and_other_panels_stay_as_they_are():
    names, values = ["early", "high", "intermediate", "silent"], np.array([[1.0, 3.0, 2.0, 4.0]])
    card = inside_page._early_to_late({"place_names": names, "places": values})
    assert card["place_names"] == ["early", "intermediate", "high", "silent"]
    assert card["places"].tolist() == [[1.0, 2.0, 3.0, 4.0]]
    drawn = inside_page._early_to_late({"columns": names, "values": values.T, "limit": values.T > 2})
    assert drawn["values"].ravel().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert drawn["limit"].ravel().tolist() == [False, False, True, True]
    other = {"columns": ["0", "30"], "values": np.zeros((2, 3))}
    assert inside_page._early_to_late(other)["columns"] == other["columns"]
