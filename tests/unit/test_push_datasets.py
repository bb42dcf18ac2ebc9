"""Prepared data go to the hub where their licence lets them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import cli, hub, sparse
from braindec.checks import ConfigError, DataFileError, DownloadError
from braindec.data import NeuralDataset, Split, catalogue, layout, sounds
from braindec.sparse import saved
from braindec.types import ArraySpace, Table, Trials

NAME = "someone/data"


def prepared(folder, name="own", pictures=False, heard=False, **notes):
    rng = np.random.default_rng(0)
    ids = [f"s{i}" for i in range(8)]
    table = Table({
        "stimulus_id": np.array(ids), "session": np.ones(8, int), "run": np.ones(8, int), "repeat": np.zeros(8, int),
        "onset_s": 3.0 * np.arange(8), "acquisition_order": np.arange(8), "exchangeability_block": np.ones(8, int),
    })  # fmt: skip
    trials = Trials(rng.standard_normal((8, 5)).astype(np.float32), table, ArraySpace(5), "a.u.", 1, "fmri")
    written = layout.write_trials(folder, trials)
    images = rng.integers(0, 255, (8, 6, 6, 3), dtype=np.uint8) if pictures else None
    waves = sounds.Sounds(lambda: [np.zeros((8, 20), dtype=np.int16)], 20, 100.0) if heard else None
    kind = "image" if pictures else "audio" if heard else "none"
    layout.write_stimuli(folder, ids, kind=kind, images=images, sounds=waves)
    split = Split("default", "stimulus", {"train": tuple(ids[:6]), "test": tuple(ids[6:])})
    layout.write_manifest(folder, name=name, licence="as is", source="a test", splits={"default": split},
                          recordings=[written], **notes)  # fmt: skip
    (folder / "embeddings.h5").write_bytes(b"a cache beside it")
    return folder


def test_what_is_pushed_comes_back_as_the_same_dataset(loopback_hub, tmp_path, capsys):
    folder = prepared(tmp_path / "own")
    assert cli.main(["push", str(folder), NAME, "--licence", "cc-by-4.0"]) == 0
    said = capsys.readouterr().out
    commit = said.split("revision='")[1][:40]
    assert "only its owner sees someone/data" in said
    there = loopback_hub.repositories["dataset", NAME][1]
    assert set(there) == {".gitattributes", "README.md", "dataset.json", "stimuli.h5", "sub-01_fmri.h5"}
    back = hub.pull_dataset(NAME, tmp_path / "back", revision=commit)
    first, second = NeuralDataset.read(folder), NeuralDataset.read(back)
    assert first.identity() == second.identity()
    np.testing.assert_array_equal(
        first.trials["sub-01_fmri"].responses[:], second.trials["sub-01_fmri"].responses[:]
    )
    with pytest.raises(ConfigError, match="holds something"):
        hub.pull_dataset(NAME, back, revision=commit)


def test_the_card_is_one_that_the_hub_reads_and_says_what_pins_the_data_down(tmp_path):
    from huggingface_hub import DatasetCard

    manifest = layout.read_manifest(prepared(tmp_path / "own"))
    card = hub.dataset_card(manifest, {}, "cc-by-4.0")
    assert DatasetCard(card).data.license == "cc-by-4.0"
    assert manifest["recordings"][0]["sha256"] in card and "## Privacy" in card and "as is" in card


@pytest.mark.parametrize("fault", ["flip", "truncate"])
def test_data_that_come_damaged_leave_no_folder(loopback_hub, tmp_path, fault):
    commit = hub.push_dataset(prepared(tmp_path / "own"), NAME, licence="mit").rpartition("/")[2]
    loopback_hub.faults["sub-01_fmri.h5"] = [f"always {fault}"]
    with pytest.raises(DownloadError, match="sub-01_fmri"):
        hub.pull_dataset(NAME, tmp_path / "back", revision=commit)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "own"}, "say its licence"),
        ({"name": "nsd"}, "signed agreement, no redistribution"),
        ({"name": "schoffelen2019"}, "data use agreement"),
        ({"name": "pereira2018"}, "not stated"),
        ({"name": "brain_treebank"}, "not verified"),
        ({"name": "things_fmri", "pictures": True}, "its stimuli lie in the folder"),
        ({"name": "gwilliams2022", "heard": True}, "its stimuli lie in the folder"),
        ({"name": "simulated", "by": "anna@lab.org"}, "anna@lab.org"),
    ],
)
def test_what_a_licence_or_privacy_forbids_is_refused_before_anything_is_asked(
    loopback_hub, tmp_path, given, said
):
    with pytest.raises(ConfigError, match=said):
        hub.push_dataset(prepared(tmp_path / "data", **given), NAME)
    assert loopback_hub.asked == []


def test_open_datasets_go_and_without_their_pictures_also_those_whose_pictures_may_not(
    loopback_hub, tmp_path
):
    hub.push_dataset(prepared(tmp_path / "a", name="simulated", pictures=True), "someone/simulated")
    hub.push_dataset(prepared(tmp_path / "b", name="things_fmri"), "someone/things")
    assert b'license: "cc0-1.0"' in loopback_hub.repositories["dataset", "someone/things"][1]["README.md"]


def test_every_card_is_either_shared_under_a_licence_of_the_hub_or_refused_with_a_reason(tmp_path):
    from braindec.hub import _datasets

    shared, refused = {}, {}
    folder = prepared(tmp_path / "any")
    for name in catalogue.names():
        facts = catalogue.card(name).facts
        try:
            shared[name] = _datasets._licence(
                folder, layout.read_manifest(folder) | {"name": name}, facts, None
            )
        except ConfigError as error:
            refused[name] = str(error)
    assert {"nsd", "algonauts2023", "pereira2018", "raider", "sherlock"} <= set(refused)
    assert shared["simulated"] == "cc0-1.0" and shared["things_eeg2"] == "cc-by-4.0"
    assert set(shared.values()) <= set(_datasets.OPEN.values())


def test_a_file_that_is_not_the_prepared_one_is_not_pushed(loopback_hub, tmp_path):
    folder = prepared(tmp_path / "own")
    content = bytearray((folder / "stimuli.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "stimuli.h5").write_bytes(content)
    with pytest.raises(DataFileError, match="stimuli"):
        hub.push_dataset(folder, NAME, licence="mit")
    assert loopback_hub.asked == []


def test_a_sparse_autoencoder_goes_with_a_card_and_comes_back(loopback_hub, tmp_path, generator):
    import torch

    model = sparse.SparseAutoencoder(6, sparse.Config(n_latents=12, n_active=3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    folder = saved.save(model, tmp_path / "sae", {"space": "openclip/x"})
    commit = hub.push(folder, "someone/sae", licence="mit", private=False).rpartition("/")[2]
    back = saved.load(hub.local_or_download("someone/sae", commit))
    x = torch.randn(4, 6, generator=generator)
    assert torch.equal(back(x), model.eval()(x))
