"""Codes of patches: states that were planted are found, and masked codes are said where they follow from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import adjusted_mutual_info_score

from braindec import seeding, train
from braindec.adapters import gain_bias
from braindec.backbones import masked_transformer
from braindec.backbones._patches import Patches
from braindec.checks import ConfigError
from braindec.decoder import codes
from braindec.decoder.batches import Batches
from braindec.decoder.codes import Codes, Tokenizer, Tokenizing, learn, rebuilt_error
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.masked import Config, Pretrainee, masked_error, objective
from braindec.encoder import Encoder
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

N_CHANNELS, PATCH, N_PLACES, N_STATES, N_TRIALS = 3, 8, 6, 5, 320
BACKBONE = masked_transformer.Config(patch=PATCH, rows=None, width=24, n_layers=1, n_heads=2)
TRAIN = train.Config(n_steps=150, batch_size=64, lr=4e-3, validate_every=50, device="cpu")
CODES = Codes(n_codes=N_STATES, n_dims=8, width=32, train=TRAIN)
SIGNAL = SubjectSignal(
    1, "eeg", (N_CHANNELS, PATCH * N_PLACES), ArraySpace(N_CHANNELS), sfreq=100.0, tmin=0.0
)


def signals_of(states: np.ndarray, noise: float = 0.5) -> torch.Tensor:
    """Trials whose segments are each one of five waves of all channels, in noise: (n_trials, n_channels, n_times)."""
    rng = np.random.default_rng(11)
    waves = rng.standard_normal((N_STATES, N_CHANNELS, PATCH))
    made = waves[states].transpose(0, 2, 1, 3).reshape(len(states), N_CHANNELS, -1)
    return torch.from_numpy(made + noise * rng.standard_normal(made.shape)).float()


def following(n: int = N_TRIALS) -> np.ndarray:
    """States (n_trials, n_places), each the one after that of the place before; the first is drawn."""
    first = np.random.default_rng(5).integers(0, N_STATES, (n, 1))
    return (first + np.arange(N_PLACES)) % N_STATES


def without_order(states: np.ndarray) -> np.ndarray:
    """The same states, every one in a place and trial of its own."""
    return np.random.default_rng(6).permutation(states.ravel()).reshape(states.shape)


def parts(signals: torch.Tensor):
    """Training and held-out sets, four to one."""
    every = SubjectSet(signals, {}, torch.arange(len(signals)), tuple(str(i) for i in range(len(signals))))
    cut = 4 * len(signals) // 5
    kept, held = torch.arange(cut), torch.arange(cut, len(signals))
    return {SIGNAL.key: every.take(kept)}, {SIGNAL.key: every.take(held)}


def encoder() -> Encoder:
    return Encoder.build(SignalInfo({SIGNAL.key: SIGNAL}), {"main": (1, 3)}, gain_bias.Config(), BACKBONE, 0)


def tokenizing(signals: torch.Tensor, settings: Codes = CODES) -> Tokenizing:
    with seeding.seeded(0, "tokenizer"):
        return Tokenizing(encoder(), settings, parts(signals)[0])


def learnt(states: np.ndarray, signals: torch.Tensor, settings: Codes = CODES):
    """A tokenizer, and which codes it gives to held-out trials: (Learnt, (n_held, n_places))."""
    sets, held = parts(signals)
    found = learn(encoder(), sets, held, settings, 0, about="planted", progress=False)
    module = tokenizing(signals, settings)
    module.tokenizer.load_state_dict(found.tokenizer.state_dict())
    return found, rebuilt_error(module.eval(), held)[1].numpy()


@pytest.fixture(scope="module")
def recovered():
    states = following()
    return states, *learnt(states, signals_of(states))


def held_of(states: np.ndarray) -> np.ndarray:
    return states[4 * len(states) // 5 :]


def test_codes_are_the_states_that_were_planted_under_other_names(recovered):
    states, found, numbers = recovered
    assert adjusted_mutual_info_score(held_of(states).ravel(), numbers.ravel()) > 0.98
    assert (
        found.about["rebuilt_error"] < 0.3
    )  # a quarter of a patch's power is noise over one of signal: 0.2 is left
    assert found.about["n_used"] == N_STATES
    assert found.about["perplexity"] == pytest.approx(np.exp(entropy(np.bincount(numbers.ravel()))))


def test_codes_of_signals_that_lost_their_states_say_nothing_of_them(recovered):
    states, _, _ = recovered
    signals = signals_of(states)
    noise = torch.from_numpy(np.random.default_rng(2).permuted(signals.numpy(), axis=0))
    found, numbers = learnt(states, noise)
    assert abs(adjusted_mutual_info_score(held_of(states).ravel(), numbers.ravel())) < 0.05
    assert found.about["rebuilt_error"] > 0.8  # five codes of what has 24 independent values


def test_more_codes_rebuild_more_of_a_patch_and_attention_takes_the_others_into_account(recovered, generator):
    states, few, _ = recovered
    signals = signals_of(states)
    many, _ = learnt(states, signals, replace(CODES, n_codes=40))
    assert many.about["rebuilt_error"] < few.about["rebuilt_error"]
    for n_layers, reached in ((0, 0.0), (1, 1e-4)):
        tokenizer = tokenizing(signals, replace(CODES, n_layers=n_layers)).tokenizer.eval()
        values = torch.randn(2, N_PLACES, N_CHANNELS * PATCH, generator=generator)
        other = values.clone()
        other[:, 1:] += 1
        change = (tokenizer.embed(values) - tokenizer.embed(other))[:, 0].abs().max()
        assert change == 0 if reached == 0 else change > reached


def masked(states, shown="random", n_codes=N_STATES):
    """Cross-entropy of held-out masked codes as a share of what their frequencies make."""
    sets, held = parts(signals_of(states))
    made = encoder()
    told, training = replace(CODES, n_codes=n_codes), replace(TRAIN, n_steps=250)
    found = learn(made, sets, held, told, 0, about="planted", progress=False)
    settings = Config(
        ratio=0.5, shown=shown, predicts="codes", codes=told, width=16, n_heads=2, train=training
    )
    with seeding.seeded(0, "decoder"):
        module = Pretrainee(made, settings, sets, found.tokenizer)
    train.fit(module, Batches(sets, training, 0, "masked"), objective, training, seed=0, name="masked",
              progress=False, validate=lambda _: -masked_error(module, held, 0))  # fmt: skip
    return masked_error(module.eval(), held, 0)


@pytest.mark.parametrize("shown", ["random", "earlier"])
def test_masked_codes_are_said_where_one_follows_from_another(shown):
    assert masked(following(), shown) < 0.1


def test_masked_codes_without_order_are_said_no_better_than_by_their_frequencies():
    assert masked(without_order(following())) > 0.98


def test_to_know_which_codes_come_in_which_place_is_no_success():
    either = np.random.default_rng(8).integers(0, 2, (N_TRIALS, N_PLACES))
    assert masked((np.arange(N_PLACES) + either) % N_STATES, n_codes=12) > 0.95


def test_what_says_frequencies_alone_has_an_error_of_one_and_the_cross_entropy_of_their_entropy(recovered):
    states, found, _ = recovered
    rare = np.where(
        np.random.default_rng(3).random(states.shape) < 0.6, 0, states
    )  # no state as frequent as another
    sets, _ = parts(signals_of(without_order(rare)))
    settings = Config(ratio=0.5, predicts="codes", codes=CODES, width=16, n_heads=2, train=TRAIN)
    module = Pretrainee(encoder(), settings, sets, found.tokenizer).eval()
    signals = sets[SIGNAL.key].signals
    numbers = module.targets(SIGNAL.key, signals)[1]
    counts = np.bincount(numbers.numpy().ravel(), minlength=N_STATES)
    with torch.no_grad():
        module.decoder.values.weight.zero_()
        module.decoder.values.bias.copy_(torch.from_numpy(np.log((counts + 1) / (counts + 1).sum())))
    # Of the trials that frequencies are of, those of each place make a little less.
    assert 1.0 <= masked_error(module, sets, 0) < 1.02
    batch = {"keys": [SIGNAL.key], f"signals/{SIGNAL.key}": signals}
    loss = float(objective(module, batch, 0.0, torch.Generator().manual_seed(0))["masked"].detach())
    assert loss == pytest.approx(entropy(counts), rel=0.03)


def test_fourier_amplitudes_are_those_of_each_channel_of_a_patch(rng):
    tokenizer = Tokenizer(Patches((2, 16), 2, 8), Codes(n_codes=4, amplitude=1.0))
    values = rng.standard_normal((3, 2, 2, 8))
    wanted = np.abs(np.fft.rfft(values, axis=-1)) / np.sqrt(8)
    found = tokenizer.amplitudes_of(torch.from_numpy(values).flatten(2).float())
    np.testing.assert_allclose(found, wanted.reshape(3, 2, -1), atol=1e-5)
    made = tokenizer.rebuilt(tokenizer.embed(torch.randn(3, 2, 16)))[1]
    assert made is not None
    assert made.shape == found.shape


def test_amplitudes_are_learnt_beside_values():
    states = following(120)
    signals = signals_of(states)
    settings = replace(CODES, amplitude=1.0)
    sets, _ = parts(signals)
    module = tokenizing(signals, settings)
    module.start_(sets, torch.Generator().manual_seed(0))
    log = train.fit(module, Batches(sets, TRAIN, 0, "codes"), codes.objective, TRAIN, seed=0, name="codes",
                    progress=False)  # fmt: skip
    _, missed = log.column("amplitude")
    assert missed[-1] < 0.3 * missed[0]


def test_every_weight_of_a_tokenizer_learns_and_the_encoder_does_not(recovered, generator):
    signals = signals_of(recovered[0])
    module = tokenizing(signals, replace(CODES, amplitude=1.0, n_layers=1)).train()
    batch = {"keys": [SIGNAL.key], f"signals/{SIGNAL.key}": signals[:32]}
    before = module.tokenizer.quantiser.codes.clone()
    torch.stack([*codes.objective(module, batch, 0.0, generator).values()]).sum().backward()
    reached = {n for n, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {n for n, _ in module.named_parameters() if n.startswith("tokenizer.")}
    assert not torch.equal(module.tokenizer.quantiser.codes, before)
    moved = module.tokenizer.quantiser.codes.clone()
    codes.objective(module.eval(), batch, 0.0, generator)
    assert torch.equal(module.tokenizer.quantiser.codes, moved)  # a look moves no code


def test_more_codes_than_patches_are_refused():
    sets, held = parts(signals_of(following(20)))
    with pytest.raises(ConfigError, match=r"n_codes is 500, but training trials have 96 patches"):
        learn(encoder(), sets, held, replace(CODES, n_codes=500), 0, about="planted", progress=False)


@pytest.mark.parametrize("wrong", [{"n_codes": 1}, {"amplitude": -1.0}, {"decay": 1.0}, {"width": 30}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"codes\.{next(iter(wrong))}"):
        Codes(**wrong)
