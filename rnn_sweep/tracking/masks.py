"""Credentials out of everything that is shown or recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from rnn_sweep.errors import UserError

_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s'\"]*@")
_TOKEN = re.compile(r"://[^\s/:@'\"]+@")
_QUERY = re.compile(r"([?&](?:password|passwd|pwd|token|secret|sslpassword)=)[^&\s'\"]+", re.IGNORECASE)


def mask(text: str) -> str:
    """Replace the credentials of every URI in ``text`` by ``***``.

    A user name beside a password stays readable; one that stands alone may be a token and goes too.
    """
    text = _PASSWORD.sub(r"\1:***@", text)
    return _QUERY.sub(r"\1***", _TOKEN.sub("://***@", text))


def scrub(text: str, uri: str) -> str:
    """As :func:`mask`, and without the password of ``uri`` where it stands alone, as drivers quote it."""
    try:
        password = urlsplit(uri).password
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
