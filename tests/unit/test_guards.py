"""A step that does not fit is divided with the same loss; numbers that are none are traced to where they begin."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from braindec import checkpoints, checks, stopping, train
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import clip, mse, soft_clip
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

VOXELS, ROWS, SHAPE = {"sub-01_fmri": 12, "sub-02_fmri": 9}, {"sub-01_fmri": 8, "sub-02_fmri": 6}, (2, 5)
NAMES = ("main", "second", "third")


def trainee(dropout=0.0):
    signals = {
        key: SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, (key, n) in enumerate(VOXELS.items())
    }
    losses = {
        "main": soft_clip.build(soft_clip.Config()),
        "second": clip.build(clip.Config(learned=True)),
        "third": mse.build(mse.Config()),
    }
    shapes = dict.fromkeys(NAMES, SHAPE)
    encoder = Encoder.build(
        SignalInfo(signals), shapes, linear.Config(7), mlp.Config(16, 1, dropout=dropout), 0
    )
    return Trainee(encoder, losses, dict.fromkeys(NAMES, 1.0))


def batch(step):
    made = torch.Generator().manual_seed(step)
    found = {"keys": list(VOXELS)}
    for key, n in ROWS.items():
        found[f"signals/{key}"] = torch.randn(n, VOXELS[key], generator=made)
        found[f"stimuli/{key}"] = torch.arange(n)
        found |= {f"{name}/{key}": torch.randn(n, *SHAPE, generator=made) for name in NAMES}
    return found


def settings(**changes):
    return train.Config(**{"n_steps": 10, "lr": 1e-2, "device": "cpu", "validate_every": 6, **changes})


def fitted(module=None, given=batch, aim=objective, folder=None, **changes):
    module = trainee() if module is None else module
    log = train.fit(module, given, aim, settings(**changes), seed=3, folder=folder, progress=False)
    return module, log


def weights(module):
    return torch.cat([v.flatten() for v in module.state_dict().values() if v.is_floating_point()])


def short_above(n_rows, module, error=torch.OutOfMemoryError):
    """A module whose memory holds so many rows at once."""

    def hook(part, given):
        if part.training and len(given[0]) > n_rows:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.")

    module.encoder.backbone.register_forward_pre_hook(hook)
    return module


# ------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("n_pieces", [2, 8])
def test_a_step_in_pieces_has_the_losses_and_gradients_of_the_whole_step(n_pieces):
    found = []
    for n in (1, n_pieces):
        module = trainee().double().train()
        module.n_pieces = n
        given = {
            k: v.double() if not isinstance(v, list) and v.is_floating_point() else v
            for k, v in batch(0).items()
        }
        losses = [objective(module, given, p, torch.Generator().manual_seed(1)) for p in (0.1, 0.9)]
        sum(sum(some.values()) for some in losses).backward()
        gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        found.append((gradients, torch.stack([v.detach() for some in losses for v in some.values()])))
    for whole, divided in zip(*found, strict=True):
        assert float((divided - whole).norm() / whole.norm()) < 1e-12


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_memory_that_runs_out_divides_the_step_and_changes_nothing_else(error, capsys):
    whole, log = fitted()
    said = log.column("main")[1]
    divided, log = fitted(short_above(5, trainee(), error))
    assert [r["pieces"] for r in log.rows if "pieces" in r] == [2.0, 4.0]  # 14 rows, then 7, then 4 at most
    assert torch.allclose(torch.tensor(log.column("main")[1]), torch.tensor(said), rtol=1e-6)
    assert float((weights(divided) - weights(whole)).abs().max() / weights(whole).abs().max()) < 1e-6
    assert capsys.readouterr().err.count("did not fit into memory") == 2
    assert divided.n_pieces == 4


def test_a_step_whose_single_trials_do_not_fit_says_what_to_set():
    with pytest.raises(
        checks.ShortageError, match=r"One trial of each subject does not fit.*train\.precision=bf16"
    ):
        fitted(short_above(1, trainee()))


def test_what_cannot_be_divided_names_the_batch_size_that_may_fit():
    module = trainee()
    module.encoder.backbone.norm = nn.BatchNorm1d(3)
    with pytest.raises(checks.ShortageError, match=r"backbone\.norm normalises.*train\.batch_size"):
        fitted(short_above(5, module))
    with pytest.raises(checks.ConfigError, match=r"train\.pieces=2 is not possible: .*normalises"):
        fitted(module, pieces=2)


def test_another_error_is_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="a fault"):
        fitted(aim=lambda *_: (_ for _ in ()).throw(RuntimeError("a fault of the model")))


def test_pieces_are_kept_with_a_checkpoint(tmp_path):
    whole, _ = fitted(short_above(5, trainee(0.3)), folder=tmp_path / "whole", checkpoint_every=4)
    with pytest.raises(stopping.Stopped):
        fitted(short_above(5, trainee(0.3)), signalling(7), folder=tmp_path / "two", checkpoint_every=4)
    again, log = fitted(short_above(5, trainee(0.3)), folder=tmp_path / "two", checkpoint_every=4)
    assert torch.equal(weights(whole), weights(again)) and len([r for r in log.rows if "pieces" in r]) == 2


# --------------------------------------------------------------------------------------------------------- divergence


class _SpoiltBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def spoilt(name, step):
    """Batches one of which holds a NaN."""

    def made(number):
        found = batch(number)
        if number == step:
            found[name][1, 1] = float("nan")
        return found

    return made


def exploding(module, given, progress, generator):
    losses = objective(module, given, progress, generator)
    return losses | {"third": losses["third"] * 1e30 * 1e30}


def backwards(module, given, progress, generator):
    losses = objective(module, given, progress, generator)
    return losses | {"third": _SpoiltBackwards.apply(losses["third"])}


def overflowing():
    module = trainee()
    module.encoder.adapter("sub-02_fmri").register_forward_hook(lambda part, given, made: made * 1e30 * 1e30)
    return module


CAUSES = {
    "inputs": ({"given": spoilt("signals/sub-02_fmri", 6)}, "signals/sub-02_fmri", "sub-02_fmri", 7),
    "embeddings": ({"given": spoilt("second/sub-01_fmri", 8)}, "second/sub-01_fmri", "sub-01_fmri", 9),
    "loss": ({"aim": exploding}, "", None, 1),
    "gradients": ({"aim": backwards}, None, None, 1),
    "weights": (
        {"lr": 1e39, "clip_norm": 0.0, "weight_decay": 1.0, "schedule": "constant"},
        None,
        "sub-01_fmri",
        2,
    ),
}


@pytest.mark.parametrize("where", CAUSES)
def test_a_diverging_run_stops_and_names_the_first_bad_tensor(where, tmp_path):
    given, tensor, subject, step = CAUSES[where]
    with pytest.raises(checks.DivergenceError, match=f"step {step} .*learning rate") as caught:
        fitted(folder=tmp_path, checkpoint_every=3, **given)
    found = caught.value.found
    assert (found["where"], found["subject"], found["step"]) == (where, subject, step), str(caught.value)
    assert tensor is None or found["tensor"] == tensor
    assert json.loads((tmp_path / "train.diverged.json").read_text()) == found
    kept = checkpoints.files(tmp_path, "train")
    assert [str(kept[-1])] == [found["last_good_checkpoint"]] if step > 3 else kept == []
    for path in kept:
        held = torch.load(path, weights_only=True)["module"]
        assert all(bool(v.isfinite().all()) for v in held.values())


def test_an_overflow_in_one_subjects_adapter_is_told_of_that_subject():
    with pytest.raises(checks.DivergenceError) as caught:
        fitted(overflowing())
    assert (caught.value.found["where"], caught.value.found["subject"]) == ("activations", "sub-02_fmri")


def test_the_terms_that_are_not_finite_are_named():
    with pytest.raises(checks.DivergenceError, match="the loss of 'second'") as caught:
        fitted(given=spoilt("second/sub-01_fmri", 0))
    assert caught.value.found["terms"] == ["second"]


# ------------------------------------------------------------------------------------------------------------ signals


def signalling(step, name="SIGTERM"):
    """Batches during one of which a signal comes."""

    def made(number):
        if number == step:
            signal.raise_signal(signal.Signals[name])
        return batch(number)

    return made


@pytest.fixture
def interruptible():
    """SIGINT is Python's own: what runs in the background of a shell inherits that it is ignored."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("name", "code"), stopping.EXIT_CODES.items())
def test_a_signal_lets_the_step_end_and_keeps_it(name, code, tmp_path, capfd):
    whole, whole_log = fitted()
    before = signal.getsignal(signal.Signals[name])
    with pytest.raises((stopping.Stopped, KeyboardInterrupt)) as caught:
        fitted(given=signalling(7, name), folder=tmp_path)
    assert isinstance(caught.value, KeyboardInterrupt) if name == "SIGINT" else caught.value.code == code
    assert signal.getsignal(signal.Signals[name]) == before
    assert [path.stem for path in checkpoints.files(tmp_path, "train")] == ["train-00000008"]
    assert f"stopped by {name} after step 8 of 10, saved in {tmp_path}" in capfd.readouterr().err
    again, log = fitted(folder=tmp_path)
    assert torch.equal(weights(whole), weights(again)) and log.rows == whole_log.rows
    assert not checkpoints.files(
        tmp_path, "train"
    )  # nobody asked for any: the run is done, and so is its checkpoint


def test_a_cluster_that_handles_the_signal_itself_gets_it_once_all_is_saved(tmp_path):
    heard = []
    earlier = signal.signal(
        signal.SIGUSR1, lambda *_: heard.append(len(checkpoints.files(tmp_path, "train")))
    )
    try:
        with pytest.raises(stopping.Stopped):
            fitted(given=signalling(3, "SIGUSR1"), folder=tmp_path)
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert heard == [1]


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_does_not_wait():
    with pytest.raises(KeyboardInterrupt), stopping.deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was not obeyed")


@pytest.mark.usefixtures("interruptible")
def test_a_signal_that_nobody_looked_at_is_sent_again():
    with pytest.raises(KeyboardInterrupt), stopping.deferred() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.name == "SIGINT"


# -------------------------------------------------------------------------------------------------------- full disks


@pytest.fixture
def room_for():
    """Limits the size of every file that this process writes; writing more fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda n_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_has_no_room_is_an_error_and_the_one_before_is_whole(tmp_path, room_for):
    whole, _ = fitted(folder=tmp_path / "whole", checkpoint_every=3)

    def filling(step):
        if step == 7:
            room_for(3000)
        return batch(step)

    with pytest.raises(checks.SaveError, match=r"00000009.*(large|space).*train-00000006\.pt is whole"):
        fitted(given=filling, folder=tmp_path / "full", checkpoint_every=3)
    room_for(resource.RLIM_INFINITY)
    names = sorted(p.name for p in (tmp_path / "full" / "checkpoints").iterdir())
    assert names == [f"train-{step:08d}.{end}" for step in (3, 6) for end in ("json", "pt")]
    again, _ = fitted(folder=tmp_path / "full", checkpoint_every=3)
    assert torch.equal(weights(whole), weights(again))


@pytest.fixture
def forbid(monkeypatch):
    """Makes a folder one that may not be written, in either way."""
    allowed = []

    def forbidden(folder):
        folder.chmod(0o555)
        allowed.append(lambda: folder.chmod(0o755))
        if os.geteuid() == 0:  # whom no permission stops
            allowed.insert(0, lambda: os.seteuid(0))
            os.seteuid(65534)

    def read_only(folder):
        opened = os.open

        def refuse(path, flags, *told, **others):
            if flags & os.O_CREAT and Path(path).parent == folder:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return opened(path, flags, *told, **others)

        monkeypatch.setattr(os, "open", refuse)
        allowed.append(monkeypatch.undo)

    def allow():
        while allowed:
            allowed.pop(0)()

    yield SimpleNamespace(forbidden=forbidden, read_only=read_only, allow=allow)
    allow()


@pytest.mark.parametrize(("how", "said"), [("forbidden", "Permission denied"), ("read_only", "Read-only")])
def test_a_folder_that_may_not_be_written_is_an_error_and_the_checkpoint_before_is_whole(how, said, forbid):
    whole, _ = fitted()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)

        def forbidding(step):
            if step == 7:
                getattr(forbid, how)(folder / "checkpoints")
            return batch(step)

        with pytest.raises(checks.SaveError, match=rf"00000009.*{said}.*train-00000006\.pt is whole"):
            fitted(given=forbidding, folder=folder, checkpoint_every=3)
        forbid.allow()
        assert len([*(folder / "checkpoints").iterdir()]) == 4
        again, _ = fitted(folder=folder, checkpoint_every=3)
    assert torch.equal(weights(whole), weights(again))


def test_what_a_killed_writer_left_is_swept_away_when_the_run_ends(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    left = tmp_path / "checkpoints" / ".train-00000003.pt.abc123.part"
    left.write_bytes(b"half")
    fitted(folder=tmp_path, checkpoint_every=3)
    assert not left.exists()
