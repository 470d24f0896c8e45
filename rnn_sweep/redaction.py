"""Redaction: credentials in URLs, hidden wherever a URL is shown or recorded and looked up where it is used."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

STORAGE_VARIABLE = "RNN_SWEEP_STORAGE"
"""Where the password of ``hydra.sweeper.storage`` is looked up: the same URL, complete."""
TRACKING_VARIABLE = "RNN_SWEEP_TRACKING"
"""Where the credentials of ``tracking.uri`` are looked up: the same URI, complete."""

_QUOTES = "'\""
_KEYS = "password|passwd|pwd|token|secret|sslpassword"
"""Parameters of a URL whose values are secret."""
_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s'\"]*@")
_TOKEN = re.compile(r"(https?://)[^\s/:@'\"]+@")
_QUERY = re.compile(rf"([?&](?:{_KEYS})=)[^&\s'\"]+", re.IGNORECASE)
_PAIR = re.compile(rf"(^|&)(?:{_KEYS})=[^&]*", re.IGNORECASE)


def mask(text: str) -> str:
    """Replace the credentials of every URL in ``text`` by ``***``.

    A user name beside a password stays readable; one that stands alone may be a token where the URL is a web address,
    and goes too.
    """
    text = _PASSWORD.sub(r"\1:***@", text)
    return _QUERY.sub(r"\1***", _TOKEN.sub(r"\1***@", text))


def masked(url: str) -> str:
    """``url`` without the secrets in it, still to be opened where a driver finds the password by itself."""
    parts = urlsplit(url)
    query = _PAIR.sub("", parts.query).removeprefix("&")
    if parts.password is None and query == parts.query:
        return url
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))


def unmasked(url: str) -> str:
    """The inverse of :func:`masked`, where ``RNN_SWEEP_STORAGE`` has the same URL with its password."""
    return _looked_up(url, STORAGE_VARIABLE, masked)


def withhold(uri: str) -> str:
    """``uri`` without its credentials, which go into ``RNN_SWEEP_TRACKING`` for this process and its children."""
    hidden = mask(uri)
    if hidden != uri:
        os.environ[TRACKING_VARIABLE] = uri
    return hidden


def complete(uri: str) -> str:
    """The inverse of :func:`withhold`, where ``RNN_SWEEP_TRACKING`` has the URI with its credentials."""
    return _looked_up(uri, TRACKING_VARIABLE, mask)


def _looked_up(url: str, variable: str, hide: Callable[[str], str]) -> str:
    full = os.environ.get(variable, "")
    return full if full and hide(full) == url else url


def withheld(override: str) -> str:
    """An override for Hydra, which records what it is given: one of ``tracking.uri`` without its credentials."""
    key, _, text = override.partition("=")
    if key.lstrip("+") not in ("tracking.uri", "rnn_sweep.tracking.uri") or mask(text) == text:
        return override
    return f"{key}='{withhold(text.strip(_QUOTES))}'"


def scrub(text: str, url: str) -> str:
    """``text`` without the secrets of ``url``, also where they stand alone, as drivers quote them."""
    full = unmasked(complete(url))
    text = text.replace(full, masked(full))
    try:
        parts = urlsplit(full)
        secrets = [parts.password, *(value for key, value in parse_qsl(parts.query) if _PAIR.match(f"{key}="))]
    except ValueError:  # no URL
        secrets = []
    for secret in filter(None, secrets):
        for written in {secret, unquote(secret)}:
            text = text.replace(written, "***")
    return mask(text)


def one_line(text: str, url: str) -> str:
    """A message about ``url`` in one line of at most 300 characters, without its secrets."""
    text = " ".join(scrub(text, url).split())
    return text if len(text) <= 300 else text[:299] + "…"


def first_line(error: BaseException, url: str) -> str:
    """The first line of an error about ``url``, without its secrets, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return one_line(lines[0] if lines else type(error).__name__, url)


def plain(value: object) -> object:
    """A copy of a nested configuration in plain YAML types, credentials masked."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return mask(str(value))
