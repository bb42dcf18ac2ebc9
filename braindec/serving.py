"""A folder, and answers made on the spot, to the browser of this machine's user and to nobody else."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from braindec import checks

HOST = "127.0.0.1"
# Scripts and styles come from files of the folder: what data smuggles into a page is not run.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
MEDIA = {  # files of other kinds are not handed out
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
}
PATIENCE = 30.0  # seconds that an idle connection is kept


@dataclass(frozen=True)
class Reply:
    """What an address answers: bytes, and what they are."""

    body: bytes
    media: str = MEDIA[".json"]


# Called with the query (`?a=1&b=2` is {"a": "1", "b": "2"}) at each visit, from several threads.
Answer = Callable[[Mapping[str, str]], Reply]


def json_reply(value: Any) -> Reply:
    """A reply of JSON; NaN and infinity, which JSON does not know, are refused with a ValueError."""
    return Reply(json.dumps(value, allow_nan=False).encode())


def serve(
    folder: Path | None = None,
    *,
    dynamic: Mapping[str, Answer] | None = None,
    port: int = 0,
    token: str | None = None,
    policy: str = POLICY,
) -> Server:
    """Serves a folder on this machine's loopback, to whoever knows a random token.

    Parameters
    ----------
    folder : Path, optional
        What is handed out: regular files inside it of the kinds in `MEDIA`. No listing, no hidden file, no link out.
    dynamic : mapping of str to callable, optional
        Address, e.g. ``"/state.json"``, to what answers it, or raises a LookupError where what the query names is not
        there. These come before files of the same name.
    port : int
        0 takes a free one.
    token : str, optional
        At least 16 of the letters, digits, ``-`` and ``_``; drawn at random if not given.
    policy : str
        The Content-Security-Policy of every answer.

    Returns
    -------
    Server
        Already running, in threads of its own. Use it as a context manager, or call `close`.

    Raises
    ------
    OSError
        If the port is taken.
    ValueError
        If the token is short or holds other letters, or an address does not start with ``/``.
    """
    token = secrets.token_urlsafe(32) if token is None else token
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,}", token):
        raise ValueError(
            "token must be at least 16 of the letters, digits, '-' and '_'; leave it out for one."
        )
    checks.in_range("port", port, 0, 65535)
    for address in dynamic or {}:
        if not address.startswith("/"):
            raise ValueError(f"address must start with '/', got {address!r}.")
    root = None if folder is None else checks.existing_folder(folder, "Give the folder to serve.").resolve()
    return Server(_Site(root, dict(dynamic or {}), token, policy), port)


class Server:
    """A running server: `url` opens it, `port` is where it listens, `close` ends it."""

    def __init__(self, site: _Site, port: int):
        try:
            self._http = _Http((HOST, port), site)
        except (OSError, OverflowError) as error:
            raise OSError(
                f"port {port} of {HOST} cannot be used ({error}). Choose another, or 0 for a free one."
            ) from error
        self.port = int(self._http.server_address[1])
        self.url = f"http://{HOST}:{self.port}/?token={site.token}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening; may be called again."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Returns when the server is closed, e.g. by the KeyboardInterrupt that this lets through."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    @contextmanager
    def browser(self) -> Iterator[bool]:
        """Opens the page in the user's browser; whether one was found.

        The browser is handed a file that only this user reads and that leads to `url`: arguments of a command are
        seen by everyone on a machine, and the token must not be. The file is there until the context is left.
        """
        with tempfile.TemporaryDirectory(prefix="braindec-") as folder:
            page = Path(folder) / "open.html"
            page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={self.url}">\n')
            yield webbrowser.open(page.as_uri())


@dataclass(frozen=True)
class _Site:
    """What is handed out, and the secret that opens it."""

    root: Path | None
    dynamic: Mapping[str, Answer]
    token: str
    policy: str

    def file(self, path: str) -> Path | None:
        """The file that an already decoded path names, or None: outside, hidden, of another kind or not there."""
        parts = path.split("/")[1:]
        if self.root is None or not path.startswith("/") or "\\" in path or not path.isprintable():
            return None
        if parts[-1] == "":
            parts[-1] = "index.html"
        if any(part == "" or part.startswith(".") for part in parts):
            return None
        found = Path(os.path.realpath(self.root.joinpath(*parts)))
        inside = found.is_relative_to(self.root) and found.suffix.lower() in MEDIA
        return found if inside and found.is_file() else None


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], site: _Site):
        self.site = site
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks the network for this machine's name here; nobody needs it.
        self.server_name, self.server_port = HOST, 0
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Python prints what failed, unless it was only the browser that lost interest."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection. Whoever asks under another name, or without the token, learns nothing."""

    server: _Http
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "braindec", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answers a visit."""
        path, _, query_text = self.path.partition("#")[0].partition("?")
        query = {name: values[-1] for name, values in parse_qs(query_text).items()}
        if not self._host_is_ours():
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "Wrong host.")
        given = query.pop("token", None)
        if not self._is_known(given):
            return self._refuse(HTTPStatus.FORBIDDEN, "Open the address that the command printed.")
        fresh = given is not None  # the browser then keeps the token as a cookie
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return self._refuse(HTTPStatus.NOT_FOUND, "Not here.")
        if path in self.server.site.dynamic:
            try:
                reply = self.server.site.dynamic[path](query)
            except LookupError:  # what the query names is not there
                return self._refuse(HTTPStatus.NOT_FOUND, "Not here.")
            return self._send(reply, fresh)
        file = self.server.site.file(path)
        if file is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "Not here.")
        self._send_file(file, fresh)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Nothing can be changed from outside."""
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD.", Allow="GET, HEAD")

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = do_POST

    def _host_is_ours(self) -> bool:
        """A page of another name that points at this machine (DNS rebinding) names that name here."""
        port = self.server.server_address[1]
        return self.headers.get_all("Host", []) in ([f"{HOST}:{port}"], [f"localhost:{port}"])

    def _cookie_name(self) -> str:
        return f"braindec-{self.server.server_address[1]}"  # browsers share cookies between ports

    def _is_known(self, given: str | None) -> bool:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie_name())
        except CookieError:
            cookie = None
        told = given if given is not None else cookie.value if cookie else ""
        return secrets.compare_digest(told.encode(errors="replace"), self.server.site.token.encode())

    def _send(self, reply: Reply, fresh: bool) -> None:
        self._head(HTTPStatus.OK, reply.media, len(reply.body), fresh)
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _send_file(self, path: Path, fresh: bool) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._head(HTTPStatus.OK, MEDIA[path.suffix.lower()], size, fresh)
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile)

    def _refuse(self, status: HTTPStatus, why: str, **headers: str) -> None:
        # Closed: a body that nobody reads must not be taken for the next request.
        body = why.encode()
        self._head(status, MEDIA[".txt"], len(body), False, Connection="close", **headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, media: str, size: int, fresh: bool, **headers: str) -> None:
        self.send_response(status)
        sent = {
            "Content-Type": media,
            "Content-Length": str(size),
            "Content-Security-Policy": self.server.site.policy,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        if fresh:
            cookie = f"{self._cookie_name()}={self.server.site.token}"
            sent["Set-Cookie"] = f"{cookie}; Path=/; HttpOnly; SameSite=Strict"
        for name, value in (sent | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: addresses hold the token."""
