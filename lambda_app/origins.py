"""Origins as browsers send them. Imported where CORS_ALLOW_ORIGINS is set."""

from __future__ import annotations

# The ports that browsers leave out of an origin.
OWN_PORTS = {"http": "80", "https": "443"}


def is_origin(origin: str) -> bool:
    """Whether a browser can send an origin: what is written otherwise would match nothing."""
    scheme, _, place = origin.partition("://")
    # An address of IPv6 has colons of its own, in brackets.
    address, bracket, rest = place.rpartition("]")
    host, colon, port = rest.partition(":")
    if bracket:
        well_formed = address.startswith("[") and not host and set(address[1:]) <= set("0123456789abcdef:")
    else:
        well_formed = bool(host) and set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        return False
    own_port = OWN_PORTS.get(scheme)
    return well_formed and own_port is not None and port != own_port
