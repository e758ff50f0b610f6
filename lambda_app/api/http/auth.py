"""API keys over HTTP, in the headers that clients send them in, against the SHA-256 of each key.

Imported only where keys are set. Only the hashes are configured, so that the function's configuration
reveals no key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lambda_app.api.http import gateway
from lambda_app.api.routes import PAGES, is_route
from lambda_app.errors import AuthenticationError

# Load balancers and monitors ask for these, and the response says nothing about the function.
OPEN_ROUTES = frozenset({("GET", "/health"), ("HEAD", "/health")})
# Headers that hold nothing but a key: that of Azure's clients, and of those that cannot set Authorization.
KEY_HEADERS = ("api-key", "x-api-key")


def check_key(event: Mapping[str, Any], hashes: Iterable[str], *, docs_public: bool = False) -> None:
    """Checks that a normalised gateway event has a known key, or needs none.

    With ``docs_public`` the pages about the function need none: a browser cannot send one with an address.

    Raises:
        AuthenticationError: the key is missing or not known. The message does not depend on what is wrong
            with a key, so that it reveals nothing about keys.
    """
    method, path = gateway.method(event), gateway.path(event)
    if (method, path) in OPEN_ROUTES:
        return
    if docs_public and method in {"GET", "HEAD"} and is_route(path, PAGES):
        return
    # One that is right is enough: a gateway's own key may stand in another of these headers.
    keys = list(_keys(event))
    if not keys:
        raise AuthenticationError("this function asks for a key: send the header 'Authorization: Bearer KEY'")
    if not any(is_known(key, hashes) for key in keys):
        raise AuthenticationError(
            "this key is not accepted: send a key of this function as 'Authorization: Bearer KEY'"
        )


def _keys(event: Mapping[str, Any]) -> Iterator[str]:
    """Yields the keys of a request, at most one of each header."""
    for name in ("authorization", *KEY_HEADERS):
        values = gateway.header_values(event, name)
        # Two different values could be read one way here and another way by a proxy in front.
        if len(values) == 1:
            value = values.pop().strip(" \t")
            key = _bearer(value) if name == "authorization" else value
            if key:
                yield key


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
    scheme, _, key = value.partition(" ")
    return key.lstrip(" ") if scheme.lower() == "bearer" else ""
