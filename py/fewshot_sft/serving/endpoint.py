"""Where the server is and how to get in: light enough for a probe that starts in a tenth of a second."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

API_KEY = "FEWSHOT_API_KEY"
NO_KEY = "0"  # what the original sends; a server without a key takes anything


def api_key() -> str:
    """Return the key from the environment: a command line would show it to every user of the machine."""
    return os.environ.get(API_KEY) or NO_KEY


def hide_key(text: str, key: str) -> str:
    """Return ``text`` on one line and without the key: servers repeat in an error what they were sent."""
    return " ".join((text if key == NO_KEY else text.replace(key, "***")).split())


def port_of(base_url: str) -> int:
    """Return the URL's port."""
    parts = urlsplit(base_url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(base_url: str) -> bool:
    """Return whether the URL's host is this machine; such a request must never go through a proxy."""
    host = (urlsplit(base_url).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
