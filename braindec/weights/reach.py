"""Whether a host answers, found out within seconds."""

from __future__ import annotations

import os
import socket
import urllib.request
from urllib.parse import urlsplit

SECONDS = 3.0  # a host that does not take a connection by then is taken for unreachable
OFFLINE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads HF_HUB_OFFLINE
LOOPBACK = ("127.0.0.1", "::1", "localhost")  # no proxy leads there


def why_unreachable(url: str) -> str:
    """What stands between this machine and a host; empty where it answers.

    A download that is tried without looking retries for a minute. Behind a proxy it is the proxy that must
    answer, unless ``no_proxy`` names the host.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in OFFLINE:
        return "HF_HUB_OFFLINE is set"
    asked = urlsplit(url)
    name = asked.hostname or ""
    direct = name in LOOPBACK or urllib.request.proxy_bypass(name)
    proxy = None if direct else urllib.request.getproxies().get(asked.scheme)
    host = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else asked
    port = host.port or (443 if asked.scheme == "https" and not proxy else 80)
    try:
        socket.create_connection((host.hostname or "", port), timeout=SECONDS).close()
    except OSError as error:
        return f"{host.hostname}: {error}"
    return ""
