"""Bands of the mel scale: a tone is loud in the band that holds it, when it sounds, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.targets import mel

CONFIG = mel.Config(n_bands=20, rate=50.0, n_times=50)  # a second


def tone(hz: float, first_s: float = 0.0, last_s: float = 1.0, rate: float = 16_000.0) -> np.ndarray:
    t = np.arange(round(rate)) / rate
    return np.sin(2 * np.pi * hz * t) * ((t >= first_s) & (t < last_s))


def embedded(samples: np.ndarray, rate: float = 16_000.0, config: mel.Config = CONFIG) -> np.ndarray:
    return mel.build(config).embed_audio([(samples, rate)])[0]


@pytest.mark.parametrize("hz", [200.0, 700.0, 3000.0])
def test_a_tone_is_loudest_in_the_band_whose_middle_is_nearest_on_the_mel_scale(hz):
    middles = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 22)[1:-1]
    wanted = np.abs(middles - 2595 * np.log10(1 + hz / 700)).argmin()
    assert (embedded(tone(hz)).argmax(1) == wanted).all()


def test_a_sound_is_heard_when_it_is_there_and_silence_is_the_floor():
    found = embedded(tone(1000.0, 0.4, 0.6)).max(1)
    t = (np.arange(50) + 0.5) / 50
    inside, outside = (t > 0.42) & (t < 0.58), (t < 0.38) | (t > 0.62)
    np.testing.assert_allclose(found[outside], np.log(1e-5), atol=1e-3)
    assert found[inside].min() > np.log(1e-5) + 10


def test_twice_the_amplitude_is_four_times_the_power():
    loud, soft = embedded(tone(700.0)), embedded(tone(700.0) / 2)
    band = loud[25].argmax()
    np.testing.assert_allclose((loud - soft)[5:-5, band], np.log(4), atol=1e-3)


def test_sounds_at_another_rate_are_the_same():
    np.testing.assert_allclose(
        embedded(tone(700.0, rate=44_100.0), 44_100.0).argmax(1), embedded(tone(700.0)).argmax(1)
    )


def test_a_sound_of_another_length_and_bands_that_no_frequency_lies_in_are_refused():
    with pytest.raises(ValueError, match=r"must last 1\.000 s"):
        embedded(tone(700.0)[:8000])
    with pytest.raises(checks.ConfigError, match="too narrow"):
        mel.build(mel.Config(n_bands=120))
    with pytest.raises(checks.ConfigError, match="rate must be above 0"):
        mel.Config(rate=0.0)
