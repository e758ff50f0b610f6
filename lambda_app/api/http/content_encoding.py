"""Bodies that a client compressed (``Content-Encoding: gzip``): RFC 9110, 8.4, and RFC 1952.

Imported by the first request with such a body.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import Any

from lambda_app.errors import LimitError, RequestError, UnsupportedEncodingError
from lambda_app.limits import LAMBDA_REQUEST_BYTES

# What a gzip stream has around its data, for zlib.
GZIP_WINDOW = 16 + zlib.MAX_WBITS


def decode(clean: dict[str, Any], encodings: Collection[str]) -> None:
    """Decodes the body of an event whose header Content-Encoding has the values ``encodings``.

    Afterwards the headers say nothing of the encoding, and not how long the encoded body was.

    Raises:
        UnsupportedEncodingError: the encoding is not gzip.
        RequestError: the body is not of that encoding. LimitError: it is too large once it is decoded.
    """
    names = {encoding.strip(" \t").lower() for encoding in encodings} - {"", "identity"}
    if not names:
        return
    if not names <= {"gzip", "x-gzip"}:
        raise UnsupportedEncodingError(
            "the body has a Content-Encoding that is not read here: send it as gzip or without one"
        )
    clean["body"] = _decompressed(clean["body"])
    for kind in ("headers", "multiValueHeaders"):
        if clean.get(kind):
            clean[kind] = {
                name: value
                for name, value in clean[kind].items()
                if name.lower() not in {"content-encoding", "content-length"}
            }


def _decompressed(body: bytes) -> bytes:
    """Returns the data of one gzip stream, of which no more is decompressed than a request may have."""
    stream = zlib.decompressobj(GZIP_WINDOW)
    try:
        data = stream.decompress(body, LAMBDA_REQUEST_BYTES + 1)
    except zlib.error:
        raise _malformed() from None
    if len(data) > LAMBDA_REQUEST_BYTES:
        raise LimitError(
            f"the body has more than {LAMBDA_REQUEST_BYTES} bytes once it is decoded, which is Lambda's "
            "limit for one that is not compressed: send less in one request",
            param="body",
        )
    if not stream.eof or stream.unused_data:
        raise _malformed()
    return data


def _malformed() -> RequestError:
    return RequestError(
        "the body is not one whole gzip stream, as its Content-Encoding says: an API of type REST passes it "
        "on only where its binary media types include the body's",
        param="body",
    )
