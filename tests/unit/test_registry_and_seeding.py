"""The folder is the registry, and every purpose has its own generator."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from braindec import checks, protocols, registry, seeding


def test_members_are_the_files_of_the_folder_without_helpers(repository):
    for kind in ("adapters", "backbones", "losses"):
        files = {p.stem for p in (repository / "braindec" / kind).glob("*.py")}
        assert registry.names(kind) == sorted(f for f in files if not f.startswith("_"))
        for name in registry.names(kind):
            assert registry.load(kind, name).__name__ == f"braindec.{kind}.{name}"


def test_unknown_kinds_and_members_are_refused_with_the_closest_name():
    with pytest.raises(checks.ConfigError, match="Did you mean 'adapters'"):
        registry.names("adapter")
    with pytest.raises(checks.ConfigError, match="Did you mean 'soft_clip'"):
        registry.load("losses", "softclip")
    with pytest.raises(checks.ConfigError, match="lives in"):
        registry.name_of(object())


@pytest.fixture
def faulty(monkeypatch, tmp_path):
    """A member of protocols whose file holds this text, found beside the others."""

    def write(text):
        folder = tmp_path / "protocols"
        folder.mkdir()
        (folder / "faulty_one.py").write_text(text)
        monkeypatch.setattr(protocols, "__path__", [*protocols.__path__, str(folder)])
        monkeypatch.setattr(registry, "_members", lambda kind: ("faulty_one", "generic"))
        monkeypatch.delitem(sys.modules, "braindec.protocols.faulty_one", raising=False)

    return write


TWO_METRICS = """
from braindec.protocols import Protocol, table
PROTOCOLS = table(Protocol("mine", 1, "stimulus", "test_stimuli", "before", ("a", "b"), "here", chance=(0.1, 0.2, 0.3)))
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TWO_METRICS,
            r"faulty_one.py cannot be loaded .*protocol 'mine' has 2 metrics and 3 numbers for chance",
        ),
        (
            TWO_METRICS.replace('"test_stimuli"', '"test_stimulus"'),
            r"faulty_one.py .*candidates of protocol 'mine'",
        ),
        ("x = undefined", r"faulty_one.py cannot be loaded \(NameError"),
        ("", "faulty_one.py defines no table PROTOCOLS"),
        ("from braindec.protocols.generic import PROTOCOLS", r"generic.py and .*faulty_one.py both define"),
    ],
)
def test_a_faulty_file_is_named_by_whoever_reads_them_all(faulty, text, said):
    faulty(text)
    with pytest.raises(checks.ConfigError, match=said):
        registry.tables("protocols", "PROTOCOLS")


def test_equal_purposes_give_equal_draws_and_others_do_not():
    draws = [
        seeding.numpy_generator(seed, *purpose).standard_normal(4).tolist()
        for seed, purpose in [
            (0, ("null", 1)),
            (0, ("null", 1)),
            (0, ("null", 2)),
            (1, ("null", 1)),
            (0, ("null1",)),
        ]
    ]
    assert draws[0] == draws[1] and len({str(d) for d in draws[1:]}) == 4


def test_the_derived_seed_is_the_same_on_every_machine():
    assert seeding.derive(0, "null", 3) == seeding.derive(0, "null", "3")
    assert seeding.derive(0) == 0x5FECEB66FFC86F38 >> 1  # sha256 of "0"


def test_derived_seeds_look_uniform():
    seeds = np.array([seeding.derive(0, "x", i) for i in range(2000)], dtype=np.float64) / 2**63
    assert abs(seeds.mean() - 0.5) < 0.03 and abs(seeds.std() - 12**-0.5) < 0.02
    draw = torch.randn(3, generator=seeding.torch_generator(0, "x"))
    assert torch.equal(draw, torch.randn(3, generator=seeding.torch_generator(0, "x")))


def test_a_training_step_on_the_cpu_leaves_nothing_for_accelerators_that_are_not_there():
    cpu, waiting = torch.device("cpu"), len(torch.cuda._queued_calls)
    seeding.start_global_(cpu, 0, "step", 1)
    drawn = torch.randn(3)
    seeding.start_global_(cpu, 0, "step", 2)
    other = torch.randn(3)
    seeding.start_global_(cpu, 0, "step", 1)
    assert torch.equal(torch.randn(3), drawn) and not torch.equal(drawn, other)
    assert len(torch.cuda._queued_calls) == waiting
