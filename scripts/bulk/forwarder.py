"""A function of MiniStack that passes events on to the one under the Runtime Interface Emulator.

It runs inside MiniStack, as the handler ``forwarder.handler``, with nothing but the standard library.
"""

import json
import os
import urllib.request


def handler(event, context):  # type: ignore[no-untyped-def]
    """Returns the response of the function, or raises what it raised."""
    request = urllib.request.Request(  # noqa: S310 (our own server)
        os.environ["FUNCTION_ADDRESS"], json.dumps(event).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=900) as answer:  # noqa: S310
        response = json.loads(answer.read())
    if isinstance(response, dict) and "errorType" in response and "errorMessage" in response:
        name = "".join(letter for letter in response["errorType"] if letter.isalnum())
        raise type(name or "Error", (Exception,), {})(response["errorMessage"])
    return response
