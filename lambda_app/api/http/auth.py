"""API keys over HTTP: ``Authorization: Bearer KEY`` against the SHA-256 of each key.

Loaded only where keys are set. Only the hashes are known here, so that whoever reads the function's
configuration learns no key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from lambda_app.api.http import gateway
from lambda_app.errors import AuthenticationError

# What load balancers and monitors ask, and what tells nothing of the function.
OPEN_ROUTES = frozenset({("GET", "/health"), ("HEAD", "/health")})


def check_key(event: Mapping[str, Any], hashes: Iterable[str]) -> None:
    """Lets a normalised gateway event pass that carries a key, or needs none.

    Raises:
        AuthenticationError: the same whatever is wrong, so that it tells nothing about keys.
    """
    if (gateway.method(event), gateway.path(event)) in OPEN_ROUTES:
        return
    values = gateway.header_values(event, "authorization")
    # Two different values could be read one way here and another way by a proxy in front.
    if len(values) != 1 or not is_known(_bearer(values.pop()), hashes):
        raise AuthenticationError("this function asks for a key: send the header 'Authorization: Bearer KEY'")


def is_known(key: str, hashes: Iterable[str]) -> bool:
    """Whether ``key`` has one of the hashes, in a time that does not depend on which, or on how much of one
    is right."""
    digest = hashlib.sha256(key.encode("utf-8")).hexdigest()
    found = False
    for known in hashes:
        found |= hmac.compare_digest(digest, known)
    return found


def _bearer(value: str) -> str:
    """The credentials of the Bearer scheme, whose name has no case (RFC 9110, 11.1); empty for any other."""
    scheme, _, key = value.strip(" \t").partition(" ")
    return key.lstrip(" ") if scheme.lower() == "bearer" else ""
