"""What the small server hands out, and to whom."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from braindec import serving
from braindec.serving import Reply, Server, serve

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Server]]:
    """A served folder, beside a secret that is not part of it."""
    tmp_path = tmp_path_factory.mktemp("serving")
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "site"
    (folder / "pictures").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>hello")
    (folder / "pictures" / "one.png").write_bytes(b"\x89PNG one")
    (folder / ".hidden.txt").write_text("secret")
    (folder / "weights.h5").write_text("secret")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "outside").symlink_to(tmp_path)
    dynamic = {"/state.json": lambda query: serving.json_reply({"asked": dict(query)}),
               "/now.png": lambda query: Reply(b"\x89PNG now", "image/png")}  # fmt: skip
    with serve(folder, dynamic=dynamic, token=TOKEN) as server:
        yield folder, server


def ask(server: Server, path: str, method: str = "GET", host: str | None = None, **headers: str):
    """(status, headers, body) of one raw request: nothing is normalised on the way."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{server.port}" if host is None else host)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def known(path: str) -> str:
    return f"{path}?token={TOKEN}"


def test_the_first_visit_gives_a_cookie_that_opens_the_rest(site):
    _, server = site
    status, headers, body = ask(server, known("/"))
    assert (status, body) == (200, b"<!doctype html>hello")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    status, headers, body = ask(server, "/pictures/one.png", Cookie=cookie.partition(";")[0])
    assert (status, headers["Content-Type"], body) == (200, "image/png", b"\x89PNG one")
    assert headers["Set-Cookie"] is None


def test_the_address_leads_to_the_page(site):
    _, server = site
    assert server.url == f"http://127.0.0.1:{server.port}/?token={TOKEN}"
    assert ask(server, server.url.partition(str(server.port))[2])[0] == 200


def test_a_token_is_drawn_at_random_and_is_long(tmp_path):
    with serve(tmp_path) as one, serve(tmp_path) as other:
        tokens = {server.url.partition("token=")[2] for server in (one, other)}
    assert len(tokens) == 2 and all(len(token) >= 40 for token in tokens)


@pytest.mark.parametrize("token", ["", "short", "sixteen letters!", "sixteen-letters\r\n"])
def test_a_guessable_token_or_one_that_is_no_cookie_is_refused(tmp_path, token):
    with pytest.raises(ValueError, match="token must be at least 16"):
        serve(tmp_path, token=token)


@pytest.mark.parametrize("path", ["/", "/pictures/one.png", "/state.json", "/?token=", "/?token=wrong", "/?token=%00",
                                  "/?token=" + TOKEN[:-1], f"/?token={TOKEN}x", "/nothing"])  # fmt: skip
def test_without_the_token_nothing_is_told(site, path):
    _, server = site
    status, headers, body = ask(server, path)
    assert (status, body) == (403, b"Open the address that the command printed.")
    assert headers["Set-Cookie"] is None


@pytest.mark.parametrize(
    "cookie", ["braindec={t}", "braindec-1={t}", "token={t}", "\x01=;", "braindec-{p}=wrong"]
)
def test_a_cookie_of_another_name_or_value_opens_nothing(site, cookie):
    _, server = site
    assert ask(server, "/", Cookie=cookie.format(t=TOKEN, p=server.port))[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{p}", "127.0.0.1", "127.0.0.1:1", "localhost", "",
                                  "127.0.0.1.evil.example:{p}", "[::1]:{p}"])  # fmt: skip
def test_a_visit_under_another_name_is_refused_even_with_the_token(site, host):
    _, server = site
    status, headers, _ = ask(server, known("/"), host=host.format(p=server.port))
    assert status == 421 and headers["Set-Cookie"] is None


def test_localhost_is_this_machine_too(site):
    _, server = site
    assert ask(server, known("/"), host=f"localhost:{server.port}")[0] == 200


def test_two_names_at_once_are_refused(site):
    _, server = site
    host = f"127.0.0.1:{server.port}"
    assert _raw(server, f"GET {known('/')} HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n") == 421
    assert _raw(server, f"GET {known('/')} HTTP/1.1\r\n\r\n") == 421


@pytest.mark.parametrize("path", [
    "/../secret.txt", "/pictures/../../secret.txt", "/..", "/../", "/.", "//secret.txt", "/pictures//one.png",
    "/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt", "/..%2fsecret.txt", "/pictures/..%2f..%2fsecret.txt",
    "/%252e%252e%252fsecret.txt", "/..%5csecret.txt", "/..\\secret.txt", "/%00", "/index.html%00.png", "/%ff",
    "/etc/passwd", "//etc/passwd", "/%2fetc%2fpasswd", "/.hidden.txt", "/%2ehidden.txt", "/outside/secret.txt",
    "/out.txt", "/weights.h5", "/pictures", "/pictures/", "secret.txt", "http://127.0.0.1/index.html",
])  # fmt: skip
def test_nothing_outside_hidden_or_of_another_kind_comes_out(site, path):
    _, server = site
    status, _, body = ask(server, known(path))
    assert (status, body) == (404, b"Not here.")


def test_a_link_inside_the_folder_is_followed(site):
    folder, server = site
    (folder / "again.png").symlink_to(folder / "pictures" / "one.png")
    assert ask(server, known("/again.png"))[2] == b"\x89PNG one"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed_from_outside(site, method):
    folder, server = site
    before = sorted(folder.iterdir())
    status, headers, _ = ask(server, known("/state.json"), method)
    assert (status, headers["Allow"], headers["Connection"]) == (405, "GET, HEAD", "close")
    assert sorted(folder.iterdir()) == before


def test_a_body_that_nobody_asked_for_is_not_read_as_the_next_request(site):
    _, server = site
    hidden = f"GET {known('/')} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
    sent = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 0\r\n\r\n" + hidden
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(sent.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1") == 1 and b"hello" not in answer


@pytest.mark.parametrize("path", ["/", "/state.json", "/nothing", "/pictures/one.png"])
def test_every_answer_says_what_a_browser_must_not_do(site, path):
    _, server = site
    for address in (path, known(path)):
        _, headers, _ = ask(server, address)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Server"].strip() == "braindec"  # no version to look up


def test_head_is_get_without_the_body(site):
    _, server = site
    for path in ("/index.html", "/now.png", "/nothing"):
        status, headers, body = ask(server, known(path), "HEAD")
        expected_status, expected, content = ask(server, known(path))
        assert (status, body) == (expected_status, b"")
        assert headers["Content-Length"] == expected["Content-Length"] == str(len(content))


def test_an_address_may_be_answered_on_the_spot(site):
    _, server = site
    status, headers, body = ask(server, f"/state.json?token={TOKEN}&subject=1&subject=2")
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert json.loads(body) == {"asked": {"subject": "2"}}  # the token is not among what is asked
    assert ask(server, known("/now.png"))[2] == b"\x89PNG now"


def test_json_that_is_none_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        serving.json_reply({"score": float("nan")})


def test_only_this_machine_is_listened_to(site):
    _, server = site
    assert server._http.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OSError):  # another address of this machine
        socket.create_connection(("127.0.0.2", server.port), timeout=1)


def test_a_taken_port_is_said_in_words(site):
    _, server = site
    with pytest.raises(
        OSError, match=rf"port {server.port} of 127.0.0.1 cannot be used .*Choose another, or 0"
    ):
        serve(port=server.port)


def test_a_closed_server_answers_nobody_and_closes_twice(tmp_path):
    server = serve(tmp_path)
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_the_browser_is_told_the_token_by_a_file_that_only_the_user_reads(site, monkeypatch):
    _, server = site
    opened = []
    monkeypatch.setattr(serving.webbrowser, "open", lambda url: opened.append(url) or True)
    with server.browser() as found:
        page = Path(opened[0].removeprefix("file://"))
        assert found and TOKEN not in opened[0] and server.url in page.read_text()
        assert page.parent.stat().st_mode & 0o077 == 0
    assert not page.exists()


def _raw(server: Server, request: str) -> int:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request.encode())
        return int(connection.recv(4096).split()[1])
