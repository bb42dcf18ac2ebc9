"""From a file to a folder and back: what is read, what is refused, how much memory it takes, what the command says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec import checks, cli, hub
from braindec.convert import FORMATS, convert, load, open_checkpoint

MEGABYTE = 1 << 20
# Peak of anonymous memory while a command works: what is mapped from files is not counted.
PEAK = """
import sys, threading, time
def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))
import torch, braindec.convert
from braindec.convert import convert, load
torch.set_num_threads(1)
peak, done = 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.002)
watcher = threading.Thread(target=watch, daemon=True)
def work(checkpoint, out):
    convert("mindeye2", checkpoint, out)
    return load(out)
work(sys.argv[1], sys.argv[2])  # a small one: imports
before = anonymous()
watcher.start()
converted = work(sys.argv[3], sys.argv[4])
done = True
watcher.join()
print(peak - before)
"""


@pytest.fixture
def tensors():
    """A MindEye2 of one subject, without blurry head and prior, under its published names."""
    return published(voxels=6, hidden=8, tokens=(3, 4))


def published(voxels, hidden, tokens):
    noise = torch.Generator().manual_seed(0)
    (n, d), h = tokens, hidden
    shapes = {"ridge.linears.0.weight": (h, voxels), "ridge.linears.0.bias": (h,)}
    for kind, size in (("mixer_blocks1", h), ("mixer_blocks2", 1)):
        for place, shape in (("0", (size,)), ("1.0", (size, size)), ("1.3", (size, size))):
            shapes |= {f"backbone.{kind}.0.{place}.weight": shape, f"backbone.{kind}.0.{place}.bias": (size,)}
    shapes |= {"backbone.backbone_linear.weight": (n * d, h), "backbone.backbone_linear.bias": (n * d,)}
    for i in range(9):
        if i % 3 != 1:
            shapes |= {
                f"backbone.clip_proj.{i}.weight": (d,) if i % 3 == 0 else (d, d),
                f"backbone.clip_proj.{i}.bias": (d,),
            }
    return {k: torch.randn(s, generator=noise) for k, s in shapes.items()}


def saved(path, content):
    torch.save(content, path)
    return path


def test_the_folder_is_the_list_of_formats():
    assert {"mindeye2"} <= set(FORMATS)
    with pytest.raises(checks.ConfigError, match="Did you mean 'mindeye2'"):
        convert("mindeye", "x", "y")


@pytest.mark.parametrize("wrapper", ["model_state_dict", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_found_where_training_scripts_put_them(tmp_path, tensors, wrapper, prefix):
    named = {prefix + key: value for key, value in tensors.items()}
    path = saved(
        tmp_path / "last.pth", named if wrapper is None else {wrapper: named, "epoch": 3, "lrs": [0.1]}
    )
    found = open_checkpoint(path)
    assert dict(found).keys() == tensors.keys()
    assert all(torch.equal(found[key], value) for key, value in tensors.items())
    assert found.beside == (() if wrapper is None else ("epoch", "lrs"))


def test_a_safetensors_file_gives_the_same_folder(tmp_path, tensors):
    save_file(tensors, tmp_path / "last.safetensors")
    convert("mindeye2", tmp_path / "last.safetensors", tmp_path / "a")
    convert("mindeye2", saved(tmp_path / "last.pth", {"model_state_dict": tensors}), tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_a_published_system_that_is_pulled_arrives_converted_and_is_there_without_network(
    loopback_hub, tmp_path, tensors, monkeypatch, capsys
):
    from braindec import cli
    from braindec.weights import published as table

    entry = table.named("mindeye2-subj01")
    content = saved(tmp_path / "last.pth", {"model_state_dict": tensors, "epoch": 3}).read_bytes()
    loopback_hub.add(entry.repository, {entry.files[0].path: content}, kind=entry.kind, commit=entry.revision)
    loopback_hub.faults[entry.files[0].path] = ["flip", "cut"]
    assert cli.main(["pull", "mindeye2-subj01"]) == 0
    assert "1 files of commit 183269ab73b4, sha256 verified" in capsys.readouterr().out
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loopback_hub.asked.clear()
    assert cli.main(["pull", "mindeye2-subj01"]) == 0 and loopback_hub.asked == []
    weight = load(table.folder_of("mindeye2-subj01")).encoder.adapter("sub-01_fmri").linear.weight
    assert torch.equal(weight, tensors["ridge.linears.0.weight"])


def test_the_written_file_is_one_that_safetensors_reads(tmp_path, tensors):
    convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    found = load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(
        found["encoder.backbone.heads.linear.to_backbone.weight"], tensors["backbone.backbone_linear.weight"]
    )
    assert sum(v.numel() for v in found.values()) == sum(v.numel() for v in tensors.values())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_single_and_the_report_says_so(tmp_path, tensors, kind):
    cast = {key: value.to(kind) for key, value in tensors.items()}
    report = convert("mindeye2", saved(tmp_path / "last.pth", cast), tmp_path / "out")
    weight = load(tmp_path / "out").encoder.adapter("sub-01_fmri").linear.weight
    assert torch.equal(weight, cast["ridge.linears.0.weight"].float())
    assert f"{kind} to float32".replace("torch.", "") in report.text


def test_transposed_and_overlapping_tensors_are_read_as_they_are(tmp_path, tensors):
    key = "backbone.clip_proj.2.weight"
    tensors[key] = tensors[key].T
    tensors["backbone.clip_proj.5.weight"] = tensors[key]
    convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    projector = load(tmp_path / "out").encoder.backbone.projectors["to_clip"]
    assert torch.equal(projector[2].weight, tensors[key])
    assert torch.equal(projector[5].weight, tensors[key])


class NotWeights:
    """Something that only a pickle that runs code can bring back."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (NotWeights(), "weights alone"),
        ([1, 2], "no tensors by name"),
        ({}, "no tensors by name"),
        ({"model_state_dict": {"a": 3}}, "'a', which is int"),
        ({"a": torch.zeros(2)}, "has no tensor"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, said):
    with pytest.raises(checks.DataFileError, match=said):
        convert("mindeye2", saved(tmp_path / "last.pth", content), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pth"]


def test_damaged_and_absent_files_are_refused(tmp_path, tensors):
    whole = saved(tmp_path / "last.pth", tensors).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("cut.pth", "text.pth", "text.safetensors"):
        with pytest.raises(checks.DataFileError, match=name):
            convert("mindeye2", tmp_path / name, tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        convert("mindeye2", tmp_path / "absent.pth", tmp_path / "out")


def test_a_folder_that_holds_something_is_left_alone(tmp_path, tensors):
    (tmp_path / "out").mkdir()
    convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    before = (tmp_path / "out/config.json").read_bytes()
    with pytest.raises(checks.ConfigError, match="holds something already"):
        convert("mindeye2", tmp_path / "last.pth", tmp_path / "out", subjects=(4,))
    assert (tmp_path / "out/config.json").read_bytes() == before


def test_what_cannot_be_finished_leaves_nothing_behind(tmp_path, tensors, monkeypatch):
    from braindec.convert import _folder

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_folder, "write_report", full)
    with pytest.raises(OSError, match="No space"):
        convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pth"]


def test_training_what_was_loaded_leaves_its_file_as_it_was(tmp_path, tensors):
    convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    before = (tmp_path / "out/model.safetensors").read_bytes()
    module = load(tmp_path / "out").module
    assert not any(part.training for part in module.values())
    assert all(parameter.requires_grad for parameter in module.parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    assert (tmp_path / "out/model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_folder_is_refused(tmp_path, tensors, name):
    convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    content = bytearray((tmp_path / "out" / name).read_bytes())
    content[-20] ^= 1
    (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        load(tmp_path / "out")


HUGE = {
    "a width": (("adapter", "shared_dim"), 10**5, "describes a decoder of more than"),
    "a depth": (("backbone", "n_blocks"), 10**7, "describes a decoder of more than"),
    "what no number holds": (("adapter", "shared_dim"), 10**30, "cannot be read"),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_folder_takes_no_more_memory_than_its_weights_call_for(tmp_path, tensors, what):
    convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out")
    (part, name), value, said = HUGE[what]
    config = tmp_path / "out" / "config.json"
    data = json.loads(config.read_text())
    data["design"][part][name] = value
    config.write_text(json.dumps(data))
    hub.write_manifest(tmp_path / "out")
    with pytest.raises(checks.DataFileError, match=f"config.json: {said}"):
        load(tmp_path / "out")


def test_a_folder_that_is_none_is_refused_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="braindec convert"):
        load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="braindec convert"):
        load(tmp_path)


def test_an_unknown_setting_is_refused(tmp_path, tensors):
    with pytest.raises(checks.ConfigError, match=r"setting of mindeye2.*Did you mean 'subjects'"):
        convert("mindeye2", saved(tmp_path / "last.pth", tensors), tmp_path / "out", subject=(4,))


def test_the_source_s_own_bits_are_named(tmp_path, tensors):
    from braindec import store

    path = saved(tmp_path / "last.pth", tensors)
    convert("mindeye2", path, tmp_path / "out")
    about = json.loads((tmp_path / "out/config.json").read_text())["source"]
    assert about == {"name": "last.pth", "sha256": store.sha256_of(path)}


def test_the_command_converts_and_says_whose_adapters_there_are(tmp_path, tensors, capsys):
    path = saved(tmp_path / "last.pth", tensors)
    words = ["convert", "mindeye2", str(path), "--out", str(tmp_path / "out"), "--subjects", "[7]"]
    assert cli.main(words) == 0
    assert "[7], as asked for" in capsys.readouterr().out
    assert load(tmp_path / "out").encoder.keys == ("sub-07_fmri",)
    assert cli.main([*words, "--set", "dims=5"]) == cli.FAILED


@pytest.mark.parametrize("n_tokens", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_checkpoint(tmp_path, tensors, n_tokens):
    """100 or 300 MB of tensors, the largest 64 or 256: less than 30 are ever in memory of its own."""
    large = published(voxels=5000, hidden=1024, tokens=(n_tokens, 1024))
    path = saved(tmp_path / "last.pth", {"model_state_dict": large})
    assert path.stat().st_size > (4 * n_tokens + 30) * MEGABYTE
    small = saved(tmp_path / "small.pth", tensors)
    words = [str(small), str(tmp_path / "small"), str(path), str(tmp_path / "out")]
    command = [sys.executable, "-c", PEAK, *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 30 * MEGABYTE
