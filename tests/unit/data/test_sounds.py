"""Windows of sound files are the samples that lie there, silence outside of them, and nothing that is no whole file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import wavfile

from braindec import checks
from braindec.data import layout, sounds
from braindec.types import Table

RATE = 8000


def table(*rows: tuple[str, float], seconds: float = 0.5) -> Table:
    return Table(
        {
            "wav": np.array([name for name, _ in rows]), "wav_start_s": np.array([start for _, start in rows]),
            "length_s": np.full(len(rows), seconds),
        }
    )  # fmt: skip


def written(
    folder, name: str = "a.wav", seconds: float = 1.0, rate: int = RATE, dtype=np.int16
) -> np.ndarray:
    """A WAV file of noise; its samples in [-1, 1]."""
    x = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    if np.dtype(dtype).kind == "f":
        wavfile.write(folder / name, rate, x.astype(dtype))
    else:
        wavfile.write(folder / name, rate, np.round(x * np.iinfo(dtype).max).astype(dtype))
    return x


def test_a_window_is_what_lies_there_and_silence_outside_of_the_file(tmp_path):
    x = written(tmp_path)
    found = sounds.windows(tmp_path, table(("a.wav", -0.2), ("a.wav", 0.25), ("a.wav", 0.8)), RATE)
    (batch,) = found.batches()
    assert (found.n_samples, batch.dtype, batch.shape) == (4000, np.int16, (3, 4000))
    silent, quarter = np.zeros(1600), batch[1] / 32768
    np.testing.assert_allclose(batch[0] / 32768, [*silent, *x[:2400]], atol=1e-4)
    np.testing.assert_allclose(quarter, x[2000:6000], atol=1e-4)
    np.testing.assert_allclose(batch[2] / 32768, [*x[6400:], *np.zeros(2400)], atol=1e-4)


def test_sounds_are_read_back_by_id_from_a_prepared_folder(tmp_path):
    x = written(tmp_path)
    about = table(("a.wav", 0.5), ("a.wav", 0.0))
    layout.write_stimuli(
        tmp_path, ["late", "early"], kind="audio", sounds=sounds.windows(tmp_path, about, RATE), table=about
    )
    stimuli = layout.read_stimuli(tmp_path / layout.STIMULI)
    (early, rate), (late, _) = stimuli.read(["early", "late"])
    assert stimuli.kind == "audio" and rate == RATE and early.dtype == np.float32
    np.testing.assert_allclose(early, x[:4000], atol=1e-4)
    np.testing.assert_allclose(late, x[4000:], atol=1e-4)
    with pytest.raises(ValueError, match="none"):
        stimuli.read(["none"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_samples_of_any_width_are_between_minus_one_and_one(tmp_path, dtype):
    x = written(tmp_path, dtype=dtype) if dtype != np.uint8 else None
    if dtype == np.uint8:
        x = np.linspace(-0.5, 0.5, RATE)
        wavfile.write(tmp_path / "a.wav", RATE, np.round(128 + 127 * x).astype(np.uint8))
    np.testing.assert_allclose(sounds.read_wav(tmp_path / "a.wav", RATE), x, atol=0.01)


def test_channels_are_averaged_and_a_tone_keeps_its_pitch_at_another_rate(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    wavfile.write(tmp_path / "a.wav", 44100, np.stack([tone, 0 * tone], axis=1).astype(np.float32))
    heard = sounds.read_wav(tmp_path / "a.wav", 16_000.0)
    spectrum = np.abs(np.fft.rfft(heard))
    assert heard.shape == (16_000,) and spectrum.argmax() == 440
    assert np.abs(heard[100:-100]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kept", [10, 40, 9000])
def test_a_cut_file_is_one_error_that_names_it(tmp_path, kept):
    written(tmp_path)
    path = tmp_path / "a.wav"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(checks.DataFileError) as error:
        sounds.read_wav(path, RATE)
    assert error.value.path == path


def test_missing_files_files_elsewhere_and_windows_of_two_lengths_are_refused(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    written(tmp_path, "outside.wav")
    with pytest.raises(FileNotFoundError, match=r"keep_sound"):
        sounds.windows(folder, table(("none.wav", 0.0)))
    with pytest.raises(checks.DataFileError, match="outside"):
        sounds.windows(folder, table(("../outside.wav", 0.0)))
    two = Table({"wav": np.array(["a", "a"]), "wav_start_s": np.zeros(2), "length_s": np.array([0.5, 1.0])})
    with pytest.raises(ValueError, match="one length"):
        sounds.windows(folder, two)


def test_a_kind_and_its_media_belong_together(tmp_path):
    with pytest.raises(ValueError, match="'audio' needs sounds"):
        layout.write_stimuli(tmp_path, ["a"], kind="audio")
    written(tmp_path)
    given = sounds.windows(tmp_path, table(("a.wav", 0.0)), RATE)
    with pytest.raises(ValueError, match="'none' takes no sounds"):
        layout.write_stimuli(tmp_path, ["a"], kind="none", sounds=given)
