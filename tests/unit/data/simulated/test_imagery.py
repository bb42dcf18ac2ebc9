"""What a simulated brain imagines is a weaker copy of what it sees, region by region."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from braindec.data.simulated import brains, imagery, truth
from braindec.data.simulated.simulate import Simulated
from braindec.data.simulated.world import Subject
from braindec.types import Table, Trials

IDS = [f"scene-{i:05d}" for i in range(300)]


@pytest.fixture(scope="module")
def seen(banks, tmp_path_factory):
    """Prepared folder with the truth of a subject, its trials, and its brain's noise-free responses."""
    fitted, features = banks
    brain = brains.draw_brain(
        fitted, features, n_voxels=120, n_sessions=2, noise_level=1.0, config=brains.BrainConfig(),
        generator=np.random.default_rng(0),
    )  # fmt: skip
    noise_free = brain.respond(features[:300])
    session = np.repeat([0, 1], 150)
    responses, attended = brain.measure(noise_free, session, np.random.default_rng(1))
    subject = Subject(1, "fmri", 300, 1, 1, 2, 1, n_voxels=120)
    schedule = SimpleNamespace(session=session)
    simulated = Simulated(subject, brain, schedule, responses, attended, noise_free)
    folder = tmp_path_factory.mktemp("imagery")
    truth.write_truth(folder, simulated, SimpleNamespace(features=features[:300], map=fitted), IDS)
    n = np.arange(300)
    table = Table(
        {"stimulus_id": np.array(IDS), "session": (session + 1).astype(str), "run": session.astype(str),
         "repeat": 0 * n, "onset_s": 4.0 * n, "acquisition_order": n, "exchangeability_block": session.astype(str)}
    )  # fmt: skip
    return folder, Trials(responses.astype(np.float32), table, brain.space, "percent", 1, "fmri"), noise_free


def test_regions_imagine_the_share_that_they_are_given(seen):
    folder, trials, noise_free = seen
    ids, share = IDS[:20], {"early": 0.0, "high": 0.8}
    found = imagery.imagined(folder, trials, ids, np.random.default_rng(2), n_repeats=100, vividness=share)
    assert found.n_trials == 2000
    assert set(found.table["session"]) == {"2"}
    assert (found.table["acquisition_order"] >= 300).all()
    means = np.stack([found.responses[found.table["stimulus_id"] == i].mean(0) for i in ids])
    expected = noise_free[:20] - noise_free[:20].mean(0)
    for region, value in (share | {"intermediate": 0.0}).items():
        inside = trials.space.regions[region]
        x, y = expected[:, inside].ravel(), (means - means.mean(0))[:, inside].ravel()
        assert (x @ y) / (x @ x) == pytest.approx(value, abs=0.1)


def test_a_space_that_has_lost_voxels_is_refused(seen):
    folder, trials, _ = seen
    less = SimpleNamespace(key=trials.key, space=SimpleNamespace(n_features=100))
    with pytest.raises(ValueError, match="whole brain"):
        imagery.imagined(folder, less, IDS[:5], np.random.default_rng(0))
