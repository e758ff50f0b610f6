"""API keys over HTTP: ``Authorization: Bearer KEY`` against the SHA-256 of each key.

Imported only where keys are set. Only the hashes are configured, so that the function's configuration
reveals no key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from lambda_app.api.http import gateway
from lambda_app.errors import AuthenticationError

# Load balancers and monitors ask for these, and the response says nothing about the function.
OPEN_ROUTES = frozenset({("GET", "/health"), ("HEAD", "/health")})


def check_key(event: Mapping[str, Any], hashes: Iterable[str]) -> None:
    """Checks that a normalised gateway event has a known key, or needs none.

    Raises:
        AuthenticationError: with the same message whatever is wrong, so that it reveals nothing about keys.
    """
    if (gateway.method(event), gateway.path(event)) in OPEN_ROUTES:
        return
    values = gateway.header_values(event, "authorization")
    # Two different values could be read one way here and another way by a proxy in front.
    key = _bearer(values.pop()) if len(values) == 1 else ""
    if not key or not is_known(key, hashes):
        raise AuthenticationError("this function asks for a key: send the header 'Authorization: Bearer KEY'")


def is_known(key: str, hashes: Iterable[str]) -> bool:
    """Returns whether ``key`` has one of the hashes.

    The time does not depend on which one, or on how much of one is right.
    """
    digest = hashlib.sha256(key.encode("utf-8")).hexdigest()
    found = False
    for known in hashes:
        found |= hmac.compare_digest(digest, known)
    return found


def _bearer(value: str) -> str:
    """Returns the credentials of the Bearer scheme (in any case: RFC 9110, 11.1), else an empty string."""
    scheme, _, key = value.strip(" \t").partition(" ")
    return key.lstrip(" ") if scheme.lower() == "bearer" else ""
