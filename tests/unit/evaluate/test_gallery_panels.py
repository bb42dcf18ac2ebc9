"""What a gallery hands to the page: every picture, every score, every verdict, in one order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import report
from braindec.evaluate import hallucination as meter
from braindec.evaluate import panels
from braindec.evaluate.hallucination_beliefs import Classes, ClassSets
from braindec.evaluate.hallucination_readouts import Attribute
from braindec.evaluate.measures import Measured
from braindec.evaluate.reconstructions import Gallery, Reconstructions, _Draw
from braindec.types import Report

N = 5


@pytest.fixture
def gallery():
    rng = np.random.default_rng(0)
    shots = {
        name: rng.integers(0, 255, (N, 8, 8, 3), dtype=np.uint8)
        for name in ("braindec", "retrieved", "nearest", "shuffled", "prior", "oracle", "selected")
    }
    captions = {"presented": ("a cat",) * N, "retrieved caption": ("a dog",) * N}
    belief = Classes(np.full((N, 2), 0.5))
    one = Attribute("colour", ("red", "blue"), lambda v: v, {})
    verdicts = (meter.FROM_BRAIN, meter.FROM_PRIOR, meter.UNDECIDABLE, meter.FROM_PRIOR, meter.FROM_BRAIN)
    reading = meter.Reading(
        one, verdicts, ClassSets(np.ones((N, 2), bool), np.full(2, 0.5)), np.ones(N), np.zeros(N, bool), belief.best,
        None, True, 0.01, belief,
    )  # fmt: skip
    samples = rng.integers(0, 255, (2, N, 8, 8, 3), dtype=np.uint8)
    return Gallery(tuple("abcde"), shots["braindec"], shots, captions, samples, shots["oracle"], (reading,))


@pytest.fixture
def measured():
    def one(name, direction):
        return Measured(name, 0.5, (0.4, 0.6), 0.5, N, direction, np.linspace(0, 1, N))

    return {"ssim": one("ssim", "higher"), "distance": one("distance", "lower")}


def test_all_pictures_scores_and_verdicts_are_handed_on_in_one_order(gallery, measured):
    title, kind, payload = panels.pictures(gallery, measured, "ssim", "sub-01 fmri")
    assert (title, kind) == ("sub-01 fmri", "image_grid")
    rows = list(payload["rows"])
    assert rows[:4] == ["presented", "low-level", "reconstructed", "sample"]
    assert {"retrieved", "prior only", "shuffled brain", "oracle embedding", "nearest training image"} < set(
        rows
    )
    assert all(len(pictures) == N for pictures in payload["rows"].values())
    np.testing.assert_array_equal(payload["rows"]["sample"][3, 1], gallery.samples[1, 3])
    assert list(payload["scores"]) == ["ssim", "distance"]
    assert payload["lower"] == ["distance"]
    assert [v["colour"] for v in payload["verdicts"]] == list(gallery.readings[0].verdicts)
    assert payload["names"] == list("abcde")


def test_the_page_shows_them(gallery, measured, tmp_path):
    panel = panels.pictures(gallery, measured, "ssim", "sub-01 fmri")
    (table,) = panels.verdicts(Reconstructions({"sub-01_fmri": gallery}, {}, ()))
    page = report.write(Report((), {"title": "x"}, (panel, table)), tmp_path).read_text()
    assert page.count('class="case"') == N
    assert "undecidable" in page
    assert table[2]["rows"][0][1:] == ["colour", "0.010", "1.00", 2, 2, 1, N]


def test_without_a_meter_nothing_is_said_of_verdicts(gallery, measured):
    from dataclasses import replace

    bare = replace(gallery, readings=(), samples=None, low_level=None)
    payload = panels.pictures(bare, measured, "ssim", "x")[2]
    assert "verdicts" not in payload
    assert "sample" not in payload["rows"]
    assert panels.verdicts(Reconstructions({"k": bare}, {}, ())) == []


def test_any_number_of_samples_has_noise_of_its_own():
    class Noise:
        def generate(self, embeddings, *, generator, n_steps):
            return torch.randint(0, 256, (len(embeddings), 4, 4, 3), generator=generator).byte().numpy()

    draw = _Draw(Noise(), 0, 1)
    drawn = [draw(np.zeros((2, 1, 3), np.float32), sample) for sample in (0, 1, 255, 256, 1000, 1)]
    assert len({one.tobytes() for one in drawn}) == 5 and drawn[5] is drawn[1]
