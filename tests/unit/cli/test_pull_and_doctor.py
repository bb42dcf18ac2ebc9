"""`braindec pull` and `braindec doctor` as a user meets them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch

from braindec import cli
from braindec.cli import _doctor, _health
from braindec.weights import published
from braindec.weights.published import File, Published


def entry(name, files, *, convert=None, revision=None):
    return Published(
        name,
        "a small model",
        "someone/model",
        "model",
        revision,
        "",
        "MIT",
        files,
        ("*.json",),
        convert,
        (),
        "",
        "",
    )


@pytest.fixture
def table(monkeypatch):
    def put(*entries):
        monkeypatch.setattr(published, "table", lambda: {e.name: e for e in entries})

    return put


@pytest.fixture
def pickled(tmp_path):
    path = tmp_path / "saved.bin"
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}
    torch.save(tensors, path)
    return tensors, path.read_bytes()


def test_a_pickle_arrives_as_safetensors_and_is_gone(loopback_hub, table, pickled, capsys):
    from safetensors.torch import load_file

    tensors, content = pickled
    commit = loopback_hub.add("someone/model", {"config.json": b"{}", "sub/pytorch_model.bin": content})
    one = entry("small", (File("sub/pytorch_model.bin", 1, None),), convert="safetensors", revision=commit)
    table(one)
    assert cli.main(["pull", "small"]) == 0
    said = capsys.readouterr().out
    assert "2 tensors written again as model.safetensors" in said and "licence MIT" in said
    folder = published.folder_of("small")
    found = load_file(folder / "sub" / "model.safetensors")
    assert all(torch.equal(found[key], value) for key, value in tensors.items())
    assert not (folder / "sub" / "pytorch_model.bin").exists()
    assert not [p for p in published.repository_folder("someone/model").rglob("*") if p.is_file() and
                p.read_bytes()[:2] == b"PK"]  # fmt: skip
    loopback_hub.asked.clear()
    assert cli.main(["pull", "small"]) == 0
    assert "here already" in capsys.readouterr().out and loopback_hub.asked == []
    (folder / "sub" / "model.safetensors").write_bytes(b"damaged since")
    assert cli.main(["pull", "small"]) == 0
    assert torch.equal(load_file(folder / "sub" / "model.safetensors")["a.weight"], tensors["a.weight"])


def test_a_pickle_that_would_run_code_runs_none_and_leaves_nothing(loopback_hub, table, tmp_path, capsys):
    import pickle
    import zipfile

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    path = tmp_path / "evil.bin"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("evil/data.pkl", pickle.dumps({"a": Evil()}, protocol=2))
        file.writestr("evil/version", "3")
    commit = loopback_hub.add("someone/model", {"pytorch_model.bin": path.read_bytes()})
    table(entry("small", (File("pytorch_model.bin", 1, None),), convert="safetensors", revision=commit))
    assert cli.main(["pull", "small"]) == 2
    assert "weights alone" in capsys.readouterr().err
    assert not canary.exists() and published.here(published.named("small")) is None


def test_what_comes_without_a_commit_is_told_with_the_line_that_pins_it(loopback_hub, table, capsys):
    commit = loopback_hub.add("someone/model", {"config.json": b"{}", "model.safetensors": b"x"})
    table(entry("small", (File("model.safetensors", None, None),)))
    assert cli.main(["pull", "small"]) == 0
    said = capsys.readouterr().out
    assert f"braindec pull small --revision {commit}" in said and "of unknown size" in said
    assert str(published.folder_of("small")) in said


def test_a_published_system_is_pulled_and_converted_in_one_go(loopback_hub, table, monkeypatch, capsys):
    from braindec import convert

    commit = loopback_hub.add("someone/model", {"train_logs/last.pth": b"x"}, kind="dataset")
    one = entry("system", (File("train_logs/last.pth", None, None),), convert="mindeye2", revision=commit)
    table(Published(**{**one.__dict__, "kind": "dataset"}))
    calls = []
    monkeypatch.setattr(convert, "convert", lambda *given: calls.append(given))
    assert cli.main(["pull", "system"]) == 0
    ((format, checkpoint, out),) = calls
    assert format == "mindeye2" and checkpoint.read_bytes() == b"x"
    assert out == published.converted_folder("system") and str(out) in capsys.readouterr().out


def test_pull_without_a_name_shows_the_table(capsys):
    assert cli.main(["pull"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in published.table())
    assert "CreativeML Open RAIL++-M" in said


def test_the_doctor_says_what_is_here_and_what_can_run(loopback_hub, table, capsys, monkeypatch):
    small = (File("model.safetensors", 1000, None),)
    unknown, huge = (File("model.safetensors", None, None),), (File("model.safetensors", 10**9, None),)
    table(entry("small", small), entry("unknown", unknown), entry("huge", huge),
          entry("pickled", (File("x.pth", 5, None),)))  # fmt: skip
    monkeypatch.setattr(_doctor, "_gpus", lambda: [{"name": "card", "free_gb": 20.0, "memory_gb": 24.0}])
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["weights"]}
    assert rows["small"] == {"name": "small", "here": False, "refused": False, "disk_gb": 1.0, "disk_fits": True,
                             "gpu_gb": 2.2, "gpu_fits": True}  # fmt: skip
    assert rows["huge"]["disk_fits"] is False and rows["huge"]["gpu_fits"] is False
    assert rows["unknown"]["disk_gb"] is None and rows["pickled"]["refused"]
    assert found["hub"]["reachable"] and found["packages"]["torch"] == str(torch.__version__)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for line in (
        "can be pulled, runs on this GPU",
        "does not fit on this disk",
        "of unknown size",
        "refused: pickles",
    ):
        assert line in said


def test_the_doctor_names_what_is_missing_and_fails(monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    version = _doctor._version
    monkeypatch.setattr(_doctor, "_version", lambda name, of: None if name == "h5py" else version(name, of))
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().out
    assert re.search(r"h5py +MISSING", said) and "out of reach, HF_HUB_OFFLINE is set" in said


EXTRAS = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
TOOLS = ("docs", "dev")  # of whoever works on braindec: one package stands for all


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_doctor_knows_every_extra_and_what_it_brings(extra):
    listed = {of for of, note in _doctor.PACKAGES.values() if f"'braindec[{extra}]'" in note}
    brought = {re.split(r"[\[<>=~!; ]", line)[0] for line in EXTRAS[extra]}
    assert listed and listed <= brought
    assert listed == brought or extra in TOOLS


def test_the_doctor_shows_what_is_set_and_no_secret(monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:password@proxy.example:80")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "HF_TOKEN=(set)" in said and "HTTPS_PROXY=http://(user)@proxy.example:80" in said
    assert "secret" not in said and "password" not in said
    assert "OMP_WAIT_POLICY lets threads spin" in said


def test_the_doctor_names_known_problems_and_the_way_out(monkeypatch, tmp_path):
    small = type("Usage", (), {"free": 1e9})
    monkeypatch.setattr(_health.shutil, "disk_usage", lambda _: small)
    monkeypatch.setattr(_health, "free_memory_gb", lambda: 0.5)
    monkeypatch.setattr(_health, "_torchvision_is_foreign", lambda: True)
    found = _health.examine({"torch": "2.5.1+cu121"}, tmp_path / "not" / "there")
    told = "\n".join(found["problems"])
    for part in ("CVE-2025-32434", "operator torchvision::nms", "1.0 GB free", "0.5 GB of memory are free"):
        assert part in told
    monkeypatch.setattr(_health.util, "find_spec", lambda name: None if name == "mne" else object())
    tasks = _health.examine({"torch": "2.13.0"}, tmp_path)["tasks"]
    assert tasks["prepare EEG, MEG, iEEG"] == ["mne"] and tasks["prepare fMRI"] == []


def test_what_is_installed_gets_no_words_on_installing_it(monkeypatch, capsys):
    monkeypatch.setattr(_doctor, "_version", lambda name, of: None if name == "av" else "1.0")
    cli.main(["doctor"])
    listed = capsys.readouterr().out.partition("packages\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed if "pip install" in line] == ["av"]
    assert any(re.fullmatch(r"  sacrebleu +1\.0 +captions", line) for line in listed)


def test_nothing_is_found_wrong_where_nothing_is(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(_health, "_torchvision_is_foreign", lambda: False)
    monkeypatch.setattr(_health.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1e12}))
    monkeypatch.setattr(_health, "free_memory_gb", lambda: 64.0)
    monkeypatch.setattr(_health.sys, "version_info", (3, 12, 9))
    assert _health.examine({"torch": "2.13.0+cpu"}, tmp_path)["problems"] == []


def test_files_that_a_container_has_read_are_no_memory_in_use(monkeypatch, tmp_path):
    told = {
        "max": "2000000000\n",
        "current": "1900000000\n",
        "stat": "anon 300000000\ninactive_file 1500000000\n",
    }
    for name, text in told.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(_health, "CONTAINER", tmp_path)
    assert _health.free_memory_gb() == 1.6  # 2.0 - (1.9 - 1.5): MemAvailable of this machine is more
