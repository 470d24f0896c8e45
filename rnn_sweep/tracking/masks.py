"""Credentials out of everything that is shown or recorded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from rnn_sweep.errors import UserError

TRACKING_VARIABLE = "RNN_SWEEP_TRACKING"
"""Where the credentials of ``tracking.uri`` are looked up: the same URI, complete."""

_QUOTES = "'\""
_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s'\"]*@")
_TOKEN = re.compile(r"://[^\s/:@'\"]+@")
_QUERY = re.compile(r"([?&](?:password|passwd|pwd|token|secret|sslpassword)=)[^&\s'\"]+", re.IGNORECASE)


def mask(text: str) -> str:
    """Replace the credentials of every URI in ``text`` by ``***``.

    A user name beside a password stays readable; one that stands alone may be a token and goes too.
    """
    text = _PASSWORD.sub(r"\1:***@", text)
    return _QUERY.sub(r"\1***", _TOKEN.sub("://***@", text))


def withhold(uri: str) -> str:
    """``uri`` without its credentials, which go into ``RNN_SWEEP_TRACKING`` for this process and its children."""
    hidden = mask(uri)
    if hidden != uri:
        os.environ[TRACKING_VARIABLE] = uri
    return hidden


def withheld(override: str) -> str:
    """An override for Hydra, which records what it is given: one of ``tracking.uri`` without its credentials."""
    key, _, text = override.partition("=")
    if key.lstrip("+") != "tracking.uri" or mask(text) == text:
        return override
    return f"{key}='{withhold(text.strip(_QUOTES))}'"


def complete(uri: str) -> str:
    """The inverse of :func:`withhold`, where ``RNN_SWEEP_TRACKING`` has the URI with its credentials."""
    full = os.environ.get(TRACKING_VARIABLE, "")
    return full if full and mask(full) == uri else uri


def scrub(text: str, uri: str) -> str:
    """As :func:`mask`, and without the password of ``uri`` where it stands alone, as drivers quote it."""
    try:
        password = urlsplit(complete(uri)).password
    except ValueError:
        password = None
    if password and len(password) >= 4:
        for secret in (password, unquote(password)):
            text = text.replace(secret, "***")
    return mask(text)


def plain(value: object) -> object:
    """A copy of a nested configuration in plain YAML types, credentials masked."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return mask(str(value))


def unusable(uri: str, error: BaseException) -> UserError:
    """The message for a store that does not work, with the driver's reason and without credentials."""
    return UserError(f"tracking.uri must be a store that can be written: got '{mask(uri)}' ({first_line(error, uri)})")


def first_line(error: BaseException, uri: str) -> str:
    """The first line of an error about the store ``uri``, without credentials, at most 300 characters."""
    lines = str(error).strip().splitlines()
    text = scrub(lines[0] if lines else type(error).__name__, uri)
    return text if len(text) <= 300 else text[:299] + "…"
