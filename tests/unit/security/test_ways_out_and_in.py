"""Archives that are good, downloads that are led astray, and text that a terminal or spreadsheet would obey."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import requests

from braindec import checks, cli, explore, report
from braindec.cli import _saved
from braindec.data import archives, download
from braindec.types import Report, Score

FILES = {
    "a.txt": b"A" * 5000,
    "sub/b.bin": os.urandom(70_000),
    "sub/caf\u00e9.txt": b"x",
    "sub/inner.zip": b"PK",
}


def written(folder, kind):
    source = folder / "source"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    path = folder / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name in FILES:
                file.write(source / name, name)
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as tar:
            tar.add(source, ".")
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_what_was_packed_is_unpacked(kind, tmp_path, capsys):
    path = written(tmp_path, kind)
    assert cli.main(["unpack", str(path), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "4 files in" in told and "an archive itself: braindec unpack" in told
    found = {str(p.relative_to(tmp_path / "out")): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {name: p.read_bytes() for name, p in found.items()} == FILES
    assert not any(p.stat().st_mode & 0o7111 for p in found.values()), "modes of the archive came along"


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_cut_or_changed_archive_leaves_nothing(kind, tmp_path):
    path = written(tmp_path, kind)
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    for damaged in (
        content[:40_000],
        content[: len(content) - 9000],
        bytes(changed) if kind != "tar" else b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(checks.DataFileError, match=path.name):
            archives.unpack(path, tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"source", path.name}


def test_limits_and_a_folder_in_use_are_said(tmp_path):
    path = written(tmp_path, "zip")
    with pytest.raises(checks.DataFileError, match="more than 3 files"):
        archives.unpack(path, tmp_path / "out", archives.Limits(n_files=3))
    with pytest.raises(checks.DataFileError, match="there is room for 5e-05 GB"):
        archives.unpack(path, tmp_path / "out", archives.Limits(n_bytes=50_000))
    with pytest.raises(checks.ConfigError, match="holds something"):
        archives.unpack(path, tmp_path / "source")


# ----------------------------------------------------------------------------------------------------- downloads


@pytest.fixture
def astray():
    """An address that leads to whatever is asked for behind it."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", self.path[1:])
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/hostname", "doi:10.1/x"]
)
def test_an_address_that_is_not_https_is_not_asked(url, tmp_path):
    with pytest.raises(checks.DownloadError, match="is not https"):
        download.retrieve(url, None, tmp_path / "a", "")
    assert list(tmp_path.iterdir()) == []


def test_a_redirection_to_http_is_not_followed(astray, tmp_path):
    with pytest.raises(checks.DownloadError, match=r"http://example\.org/a, to which .* leads, is not https"):
        download.retrieve(f"{astray}http://example.org/a", None, tmp_path / "a", "")
    assert list(tmp_path.iterdir()) == []


def test_a_redirection_into_this_machine_is_not_followed(monkeypatch, tmp_path):
    answer = requests.Response()
    answer.status_code, answer.url, answer.headers["location"] = (
        302,
        "https://example.org/a",
        "http://127.0.0.1:1/x",
    )

    def get(*_, hooks, **__):
        hooks["response"](answer)

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(checks.DownloadError, match="leads into this machine"):
        download.retrieve("https://example.org/a", None, tmp_path / "a", "")


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(monkeypatch, tmp_path):
    answer = requests.Response()
    answer.status_code, answer.url, answer.headers["content-length"] = (
        200,
        "https://example.org/a",
        str(1 << 60),
    )
    monkeypatch.setattr(requests, "get", lambda *_, hooks, **__: hooks["response"](answer))
    with pytest.raises(checks.DownloadError, match="Make room"):
        download.retrieve("https://example.org/a", None, tmp_path / "a", "")


def test_a_list_of_files_stays_within_its_folder(tmp_path):
    path = tmp_path / "files.tsv"
    path.write_text(f"path\turl\tsha256\n../x\thttps://example.org/x\t{'0' * 64}\n")
    with pytest.raises(checks.DataFileError, match="outside of its folder"):
        download.listed(path)


# ----------------------------------------------------------------------------------------------- text for people


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_of_a_table_is_no_formula(text):
    assert _saved.cell(text) == f"'{text}"
    assert _saved.cell("picture=1.png") == "picture=1.png"


def test_a_terminal_is_shown_control_characters_and_does_not_obey_them(capsys, tmp_path):
    name = "\x1b]0;owned\x07\x1b[2J\u202efile"
    assert cli.main(["report", str(tmp_path / name)]) == cli.FAILED
    told = capsys.readouterr().err
    assert "\\x1b]0;owned\\x07" in told and "\x1b" not in told and "\u202e" not in told


EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`${1}"


def test_a_report_shows_html_and_does_not_run_it(tmp_path):
    score = Score(EVIL, "braindec", EVIL, 1, "fmri", 0.7, (0.6, 0.8), 0.5, 0.5, 100)
    run = {
        "title": EVIL,
        "summary": EVIL,
        "recipe": EVIL,
        "command": EVIL,
        "dataset": EVIL,
        EVIL: {EVIL: [EVIL]},
    }
    pictures = np.zeros((1, 8, 8, 3), np.uint8)
    panels = (
        (EVIL, "text", {"text": [EVIL, f"- {EVIL}"], "caption": EVIL}),
        (EVIL, "table", {"columns": [EVIL], "rows": [[EVIL]]}),
        (EVIL, "image_grid", {"rows": {EVIL: pictures}, "captions": [EVIL], "notes": {EVIL: [EVIL]}}),
        (EVIL, "image_grid", {"rows": {EVIL: pictures, "b": pictures}, "scores": {"ssim": np.ones(1)}, "names": [EVIL],
                              "texts": {EVIL: [EVIL]}, "verdicts": [{EVIL: "from the brain"}]}),
    )  # fmt: skip
    page = report.write(Report((score,), run, panels), tmp_path).read_text()
    assert "<script>alert" not in page and "<img src=x" not in page
    assert page.count("alert(1)") > 12, "little of it was shown, so little was tried"


def test_an_explorer_carries_text_as_data_and_not_as_markup(tmp_path):
    score = Score("roc_auc", "braindec", "p", 1, "fmri", 0.7, (0.6, 0.8), 0.5, 0.5, 100)
    pictures = np.zeros((1, 8, 8, 3), np.uint8)
    rows = {"presented": pictures, EVIL: pictures}
    panels = (
        (
            EVIL,
            "image_grid",
            {"rows": rows, "captions": [EVIL], "names": [EVIL], "scores": {"ssim": np.ones(1)}},
        ),
    )
    report.write(Report((score,), {"title": EVIL, "summary": EVIL}, panels), tmp_path / "run")
    explore.write(tmp_path / "run", tmp_path / "out")
    told = 0
    for path in (p for p in (tmp_path / "out").rglob("*") if p.suffix in (".html", ".svg")):
        text = path.read_text()
        assert "<script>alert" not in text and "<img src=x" not in text, path.name
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in (".html", ".js", ".json"):
            told += path.read_text().count("alert(1)")
            assert "</script><script>" not in path.read_text(), path.name
    assert told, "nothing of it was written, so nothing was tried"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_who_may_read_what_was_unpacked_is_decided_by_the_umask(tmp_path, mask):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("inside/a.txt", "a")
    earlier = os.umask(mask)
    try:
        archives.unpack(tmp_path / "a.zip", tmp_path / "out")
    finally:
        os.umask(earlier)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out", tmp_path / "out" / "inside")}
    assert modes == {0o777 & ~mask}
