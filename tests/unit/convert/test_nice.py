"""NICE's checkpoints with an attention module, or with their two files apart."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from braindec import seeding
from braindec.backbones import temporal_spatial
from braindec.convert import convert, load

SHAPE, OUTPUTS = (6, 40), {"main": (1, 8)}
CONFIG = {"n_filters": 4, "kernel": 5, "pool": 6, "stride": 3, "n_mixed": 3, "variant": "published"}
CONVOLUTION = {
    "tsconv.temporal.": "tsconv.0.", "tsconv.temporal_norm.": "tsconv.2.", "tsconv.spatial.": "tsconv.4.",
    "tsconv.spatial_norm.": "tsconv.5.", "tsconv.mix.": "projection.0.",
}  # fmt: skip
HEAD = {"project.": "proj.0.", "hidden.1.": "proj.1.fn.1.", "norm.": "proj.2."}


@pytest.fixture
def network():
    """A network with the published modules, away from its first weights."""

    def build(attention):
        with seeding.seeded(0, "backbone"):
            made = temporal_spatial.build(
                SHAPE, OUTPUTS, temporal_spatial.Config(**CONFIG, attention=attention)
            )
            with torch.no_grad():
                for parameter in made.parameters():
                    parameter.add_(0.1 * torch.randn(parameter.shape))
        return made.eval()

    return build


def published(network, attention, lin):
    """Its tensors under the names that the published code gives them."""
    place, made = ("enc.0." if attention == "none" else "enc.1."), {}
    for key, value in network.state_dict().items():
        value = value.clone()
        head = key.removeprefix("heads.heads.to_main.")
        for ours, theirs in CONVOLUTION.items():
            if key.startswith(ours):
                made[place + theirs + key.removeprefix(ours)] = value
        for ours, theirs in HEAD.items():
            if head != key and head.startswith(ours):
                made[theirs + head.removeprefix(ours)] = value
        if key.startswith("attention.") and attention == "self":
            name = key.removeprefix("attention.")
            made["enc.0.fn." + ("0." + name[5:] if name.startswith("norm.") else "1." + name)] = value
        if key.startswith("attention.") and attention == "graph":
            name = key.removeprefix("attention.")
            theirs = {
                "source": "att_src",
                "target": "att_dst",
                "bias": "bias",
                "map.weight": f"{lin}.weight",
            }[name]
            made["enc.0.fn.0.conv1." + theirs] = value.view(1, 1, -1) if theirs.startswith("att") else value
    return made


@pytest.mark.parametrize(
    ("attention", "lin"), [("none", ""), ("self", ""), ("graph", "lin"), ("graph", "lin_src")]
)
def test_attention_modules_and_another_number_of_mixed_filters_come_over(attention, lin, network, tmp_path):
    source = network(attention)
    save_file(published(source, attention, lin), tmp_path / "nice.safetensors")
    report = convert(
        "nice", tmp_path / "nice.safetensors", tmp_path / "out", n_times=40, pool=6, stride=3, subject=7
    )
    assert report.n_left == 0
    assert ("faults of the published code" in report.text) == (attention != "none")
    converted = load(tmp_path / "out")
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = converted.encoder({"sub-07_eeg": x})["sub-07_eeg"]["main"]
        torch.testing.assert_close(found, source(x)["main"])


def test_the_encoder_s_file_alone_is_refused_with_the_way_to_join_both(network, tmp_path):
    whole = published(network("none"), "none", "")
    alone = {key.removeprefix("enc."): value for key, value in whole.items() if key.startswith("enc.")}
    save_file(alone, tmp_path / "enc.safetensors")
    with pytest.raises(ValueError, match="put them into one"):
        convert("nice", tmp_path / "enc.safetensors", tmp_path / "out")
