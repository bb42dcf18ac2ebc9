"""A federation through folders: another process answers with safetensors files, and all ends as in one process."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from braindec import checks
from braindec.decoder.federated import Config, federate, first_weights
from braindec.decoder.mailbox import Mailbox, serve
from braindec.decoder.site import fit_sites

SITES = Path(__file__).parents[2] / "federated_sites.py"
W = SimpleNamespace(**runpy.run_path(str(SITES)))


def first_of(site):
    return first_weights(W.SETTINGS, site.encoder.shared_shape, site.outputs)


def test_two_processes_that_exchange_files_end_as_one_process_does(tmp_path):
    box, answers = tmp_path / "far", tmp_path / "predicted.npy"
    datasets, embeddings = W.world()
    near = W.site("site-0")
    other = subprocess.Popen([sys.executable, str(SITES), "site-1", str(box), str(answers)])
    try:
        far = Mailbox(box, W.TOLD, patience_s=120, every_s=0.02)
        found = federate({"site-0": near, "site-1": far}, first_of(near), W.TOLD, progress=False)
        assert other.wait(120) == 0
    finally:
        other.kill()
    parts = {name: d.part("train") for name, d in datasets.items()}
    here = fit_sites(W.SETTINGS, parts, embeddings, W.TOLD, progress=False)
    assert found.sent == here.federation.sent
    for name, values in here.federation.weights["all"].items():
        assert torch.equal(found.weights["all"][name], values)
    wanted = W.predicted(here.decoders["site-1"], datasets["site-1"])
    np.testing.assert_array_equal(np.load(answers), wanted)
    # Only the last weights lie there: what was answered is removed.
    assert [p.name for p in sorted(box.iterdir())] == ["weights-00004.safetensors"]


def test_a_site_s_file_holds_the_trunk_a_count_and_which_weights_it_answers(tmp_path):
    site = W.site("site-1", Config(1, 1))
    box = Mailbox(tmp_path, site.settings, patience_s=60, every_s=0.01)
    box.tell(0, first_of(site))
    helper = threading.Thread(target=lambda: serve(site, tmp_path, patience_s=60, every_s=0.01))
    helper.start()
    update = box.answer(0)
    with safe_open(tmp_path / "update-00000.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(update.tensors)
        assert set(file.metadata()) == {"about"}
        assert set(json.loads(file.metadata()["about"])) == {"answers", "n_trials"}
    said = (tmp_path / "update-00000.safetensors").read_bytes()
    assert [w for w in (b"picture", b"sub-", b"adapters", b"fmri") if w in said] == []
    box.tell(1, update.tensors)
    helper.join(60)
    assert not helper.is_alive()


def test_a_site_that_is_started_again_goes_on_in_the_same_folder(tmp_path):
    told, box = Config(2, 3), Mailbox(tmp_path / "box", Config(2, 3), patience_s=0.05, every_s=0.01)
    whole = W.site("site-1", told)
    weights = first_of(whole)
    for number in (0, 1):
        again = W.site("site-1", told, folder=tmp_path / "own")  # as if the process had died after its answer
        box.tell(number, weights)
        with pytest.raises(checks.DataFileError, match="has not come"):
            serve(again, tmp_path / "box", patience_s=0.05, every_s=0.01)
        wanted = whole.round(number, weights).tensors
        weights = box.answer(number).tensors
        assert all(torch.equal(weights[name], values) for name, values in wanted.items())
    box.tell(2, weights)
    last = W.site("site-1", told, folder=tmp_path / "own")
    decoder = serve(last, tmp_path / "box", patience_s=1, every_s=0.01)
    assert set(decoder.preprocessing) == {"sub-02_fmri"}


def test_half_a_file_is_waited_for_and_given_up_in_time(tmp_path):
    site = W.site("site-0", Config(1, 1))
    box = Mailbox(tmp_path, site.settings, patience_s=0.05, every_s=0.01)
    box.tell(0, first_of(site))
    path = tmp_path / "weights-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(checks.DataFileError, match="has not come, whole, within"):
        serve(site, tmp_path, patience_s=0.05, every_s=0.01)
    with pytest.raises(checks.DataFileError, match=r"update-00000.*within 0\.05 s.*site still runs"):
        box.answer(0)


def test_an_answer_to_other_weights_and_one_under_other_settings_do_not_count(tmp_path):
    site = W.site("site-0", Config(1, 1))
    box = Mailbox(tmp_path, site.settings, patience_s=0.05, every_s=0.01)
    first = first_of(site)
    box.tell(0, first)
    site.tell(0, first)
    with pytest.raises(checks.DataFileError, match="has not come"):
        serve_one_round(site, tmp_path)
    assert box.answer(0).n_trials == 40
    box.tell(0, {name: v + 1 for name, v in first.items()})
    with pytest.raises(checks.DataFileError, match="has not come"):
        box.answer(0)
    Mailbox(tmp_path, Config(1, 1, proximal=1.0)).tell(0, first)
    with pytest.raises(checks.DataFileError, match="other settings"):
        serve(site, tmp_path, patience_s=0.05, every_s=0.01)


def serve_one_round(site, folder):
    """Answers what is there, and is tired of waiting for the next round."""
    serve(site, folder, patience_s=0.05, every_s=0.01)


def test_a_file_of_something_else_is_said_to_be_one(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "weights-00000.safetensors")
    with pytest.raises(checks.DataFileError, match="not written by a federation"):
        serve(W.site("site-0", Config(1, 1)), tmp_path, patience_s=0.05)
