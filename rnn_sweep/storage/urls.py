"""Storage URLs and the secrets in them."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit, urlunsplit

STORAGE_VARIABLE = "RNN_SWEEP_STORAGE"
"""Where the password of a storage URL is looked up: the same URL, complete."""

_SECRET = re.compile(r"(^|&)(?:password|passwd|sslpassword)=[^&]*", re.IGNORECASE)


def masked(url: str) -> str:
    """``url`` without the passwords in it: that of the user, and those among its parameters."""
    parts = urlsplit(url)
    query = _SECRET.sub("", parts.query).removeprefix("&")
    if parts.password is None and query == parts.query:
        return url
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))


def unmasked(url: str) -> str:
    """The inverse of :func:`masked`, where ``RNN_SWEEP_STORAGE`` has the same URL with its password."""
    full = os.environ.get(STORAGE_VARIABLE, "")
    return full if full and masked(full) == url else url


def scrubbed(text: str, url: str) -> str:
    """``text``, a driver's message about ``url``, in one line of at most 300 characters and without the password."""
    text = re.sub(r"\s+", " ", text).strip().replace(url, masked(url))
    for match in (urlsplit(url).password or "", *re.findall(r"password=([^&]+)", url, re.IGNORECASE)):
        for secret in {match, unquote(match)} - {""}:
            text = text.replace(secret, "***")
    return text if len(text) <= 300 else text[:299] + "…"
