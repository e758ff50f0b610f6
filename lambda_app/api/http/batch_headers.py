"""Headers that Snowflake reads of a response: its checksum, and the batch that it belongs to."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from lambda_app.api.http import gateway

BATCH_ID = "sf-external-function-query-batch-id"


def add_batch_headers(event: Mapping[str, Any], response: dict[str, Any]) -> None:
    """Adds them to the response to a normalised event.

    Snowflake fails a query whose Content-MD5 is not that of the body.
    https://docs.snowflake.com/en/sql-reference/external-functions-data-format
    """
    import hashlib

    body = response["body"]
    content = base64.b64decode(body) if response.get("isBase64Encoded") else body.encode("utf-8")
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    headers = {"content-md5": base64.b64encode(digest).decode("ascii")}
    batch = gateway.header_values(event, BATCH_ID)
    if len(batch) == 1:
        headers[BATCH_ID] = batch.pop()
    if "multiValueHeaders" in response:
        response["multiValueHeaders"] |= {name: [value] for name, value in headers.items()}
    else:
        response["headers"] |= headers
