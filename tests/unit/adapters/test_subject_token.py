"""What the adapter with one token a subject promises beyond the contract."""

from __future__ import annotations

import numpy as np
import torch

from braindec.adapters import subject_token
from braindec.backbones import channel_transformer
from braindec.encoder import Encoder
from braindec.types import SensorSpace, SignalInfo, SubjectSignal


def eeg(subject, n_channels=4, n_times=12):
    space = SensorSpace(
        tuple(f"E{i}" for i in range(n_channels)), np.zeros((n_channels, 3)), ("eeg",) * n_channels
    )
    return SubjectSignal(subject, "eeg", (n_channels, n_times), space, sfreq=100.0, tmin=0.0)


def build(*signals):
    backbone = channel_transformer.Config(n_filters=3, kernel=3, pool=4, stride=2)
    info = SignalInfo({s.key: s for s in signals})
    return Encoder.build(info, {"main": (1, 8)}, subject_token.Config(), backbone, seed=0)


def test_the_token_is_row_0_and_channels_pass_as_they_are(generator):
    adapter = subject_token.build(eeg(1), subject_token.Config())
    x = torch.randn(5, 4, 12, generator=generator)
    made = adapter(x)
    assert torch.equal(made[:, 1:], x)
    assert torch.equal(made[:, 0], adapter.token.expand(5, -1))


def test_subjects_differ_by_their_tokens_alone(generator):
    encoder = build(eeg(1), eeg(2)).eval()
    x = torch.randn(5, 4, 12, generator=generator)
    made = encoder({"sub-01_eeg": x, "sub-02_eeg": x})
    assert not torch.allclose(made["sub-01_eeg"]["main"], made["sub-02_eeg"]["main"])
    with torch.no_grad():
        encoder.adapter("sub-02_eeg").token.copy_(encoder.adapter("sub-01_eeg").token)
    made = encoder({"sub-01_eeg": x, "sub-02_eeg": x})
    torch.testing.assert_close(made["sub-01_eeg"]["main"], made["sub-02_eeg"]["main"])


def test_an_unseen_subject_starts_at_the_mean_of_the_others_who_keep_theirs():
    encoder = build(eeg(1), eeg(2))
    before = [encoder.adapter(key).token.clone() for key in encoder.keys]
    encoder.add_subject(eeg(3))
    torch.testing.assert_close(encoder.adapter("sub-03_eeg").token, torch.stack(before).mean(0))
    assert all(
        torch.equal(encoder.adapter(f"sub-0{i + 1}_eeg").token, token) for i, token in enumerate(before)
    )
