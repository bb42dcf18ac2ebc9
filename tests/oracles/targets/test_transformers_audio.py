"""Audio models of transformers as targets: the library's hidden states, interpolated as torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from braindec import checks
from braindec.targets import transformers_audio
from braindec.targets.transformers_audio import Config, build, segments


def sounds(rng, n: int, seconds: float, sfreq: float) -> list:
    return [(rng.normal(0, 0.1, round(seconds * sfreq)), sfreq) for _ in range(n)]


def hidden_states(folder, samples, sfreq):
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    inputs = AutoFeatureExtractor.from_pretrained(folder)(
        samples.astype(np.float32), sampling_rate=sfreq, return_tensors="pt"
    )
    with torch.inference_mode():
        return model(**inputs, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("name", ["wav2vec2", "hubert"])
def test_layers_are_averaged_and_interpolated_to_the_rate(saved, rng, name):
    target = build(Config(model=str(saved(name)), layers=(1, 2), rate=120.0, n_times=61))
    given = sounds(rng, 2, 61 / 120, 16000.0)
    for (samples, _), mine in zip(given, target.embed_audio(given), strict=True):
        states = hidden_states(saved(name), samples, 16000)
        mean = torch.stack([states[1], states[2]]).mean(0)
        expected = torch.nn.functional.interpolate(mean.transpose(1, 2), size=61, mode="linear")[0].T
        np.testing.assert_allclose(mine, expected.numpy(), atol=2e-4)
    assert target.shape == (61, 32)


def test_other_sampling_rates_are_resampled_first(saved, rng):
    target = build(Config(model=str(saved("wav2vec2")), layers=(1,), pooling="mean"))
    samples = rng.normal(0, 0.1, 22050)
    states = hidden_states(saved("wav2vec2"), signal.resample_poly(samples, 320, 441), 16000)
    np.testing.assert_allclose(
        target.embed_audio([(samples, 22050.0)])[0], states[1].mean(1).numpy(), atol=2e-4
    )


def test_standardised_features_have_no_mean_and_unit_variance_over_a_sound(saved, rng):
    plain = {"model": str(saved("wav2vec2")), "layers": (1,), "n_times": 40}
    given = sounds(rng, 2, 40 / 120, 16000.0)
    found = build(Config(**plain, standardise="sound")).embed_audio(given)
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(1), 1, atol=1e-3)
    raw = build(Config(**plain)).embed_audio(given)
    np.testing.assert_allclose(
        found, (raw - raw.mean(1, keepdims=True)) / raw.std(1, keepdims=True), atol=1e-3
    )


def test_a_recording_in_one_piece_is_the_sound_itself_and_time_runs_along_it(saved, rng):
    target = build(Config(model=str(saved("wav2vec2")), layers=(1,), n_times=120))
    samples = rng.normal(0, 0.1, 16000)
    whole = target.timeline(samples, 16000.0)
    np.testing.assert_allclose(whole, target.embed_audio([(samples, 16000.0)])[0], atol=1e-5)
    quiet = samples.copy()
    quiet[:8000] = 0  # the second half still sounds
    changed = np.abs(target.timeline(quiet, 16000.0) - whole).mean(1)
    assert changed[:50].mean() > 2 * changed[70:].mean()


def test_pieces_of_a_recording_meet_without_a_seam(saved, rng):
    """Every 2.5-s piece of a recording sees its surroundings, so that its steps are near those of the whole."""
    target = build(Config(model=str(saved("wav2vec2")), layers=(0,)))
    samples = rng.normal(0, 0.1, 16000 * 6)
    whole = target.timeline(samples, 16000.0, piece_s=100.0)
    pieces = target.timeline(samples, 16000.0, piece_s=2.5, context_s=1.0)
    assert whole.shape == pieces.shape == (720, 32)
    assert np.corrcoef(whole.ravel(), pieces.ravel())[0, 1] > 0.98


def test_whispers_silence_after_a_sound_is_left_out(saved, rng):
    target = build(Config(model=str(saved("whisper")), layers=(), pooling="mean"))
    samples = rng.normal(0, 0.1, 16000 * 3)
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(saved("whisper")).eval()
    inputs = AutoFeatureExtractor.from_pretrained(saved("whisper"))(
        samples, sampling_rate=16000, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden = model.get_encoder()(**inputs).last_hidden_state
    expected = hidden[:, :150].mean(1)  # 1,500 frames are 30 s
    np.testing.assert_allclose(target.embed_audio([(samples, 16000.0)])[0], expected.numpy(), atol=1e-4)
    with pytest.raises(ValueError, match="length of a sound"):
        target.embed_audio([(np.zeros(16000 * 31), 16000.0)])


def test_claps_own_embedding_is_the_librarys(saved, rng):
    target = build(Config(model=str(saved("clap")), layers=(), pooling="model"))
    given = sounds(rng, 2, 1.0, 48000.0)
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(saved("clap")).eval()
    inputs = AutoFeatureExtractor.from_pretrained(saved("clap"))(
        [s.astype(np.float32) for s, _ in given], sampling_rate=48000, return_tensors="pt"
    )
    with torch.inference_mode():
        pooled = model.audio_model(**inputs).pooler_output
        expected = torch.nn.functional.normalize(model.audio_projection(pooled), dim=-1)
    assert target.shape == (1, 12)
    mine = target.embed_audio(given)[:, 0]
    np.testing.assert_allclose(
        mine / np.linalg.norm(mine, axis=1, keepdims=True), expected.numpy(), atol=1e-4
    )
    with pytest.raises(ValueError, match="samples of a sound"):  # it would be cut at a random place
        target.embed_audio([(np.zeros(48000 * 11), 48000.0)])


def test_a_fused_clap_hears_a_sound_the_same_whatever_stands_beside_it(saved, rng):
    target = build(Config(model=str(saved("clap_fused")), layers=(), pooling="model"))
    given = sounds(rng, 4, 1.0, 48000.0)
    whole = target.embed_audio(given)
    np.testing.assert_allclose(whole, target.embed_audio(given, batch_size=1), atol=1e-4)
    assert np.abs(whole[0] - whole[1]).max() > 1e-4


def test_sounds_of_another_length_and_senseless_settings_are_refused(saved, rng):
    target = build(Config(model=str(saved("wav2vec2")), layers=(1,), n_times=60))
    with pytest.raises(ValueError, match=r"must last 0\.500 s"):
        target.embed_audio(sounds(rng, 1, 0.7, 16000.0))
    with pytest.raises(ValueError, match="NaN"):
        target.embed_audio([(np.full(8000, np.nan), 16000.0)])
    with pytest.raises(checks.ConfigError, match="takes layers"):
        Config(pooling="model")
    with pytest.raises(checks.ConfigError, match="no embedding of a sound of its own"):
        build(Config(model=str(saved("wav2vec2")), layers=(), pooling="model"))


def test_segments_are_cut_where_they_begin(rng):
    samples = np.arange(1000.0)
    found = list(segments(samples, 100.0, [0.0, 2.5], 3.0))
    assert [s[0] for s, _ in found] == [0.0, 250.0] and {len(s) for s, _ in found} == {300}
    with pytest.raises(ValueError, match="first sample"):
        list(segments(samples, 100.0, [8.0], 3.0))


def test_the_defaults_are_the_published_ones():
    config = transformers_audio.Config()
    assert (config.layers, config.rate, config.n_times) == ((14, 15, 16, 17, 18), 120.0, 361)


def test_a_mean_over_what_has_no_mean_is_refused():
    with pytest.raises(checks.ConfigError, match="takes the mean over time away"):
        Config(pooling="mean", standardise="sound")
