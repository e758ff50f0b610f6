"""``/tokenize`` of text-embeddings-inference (TEI)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing.request import Flag, Request
from lambda_app.api.providers.tei import Inputs, prompt_field

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service


class TokenizeRequest(Request):
    """Texts to tokenize."""

    inputs = Inputs("embed_texts")
    add_special_tokens = Flag("True unless stated.", default=True)
    prompt_name = prompt_field()


def tokenize(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """Returns the tokens of each text, not truncated. Where each begins in the text is not known: null.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = TokenizeRequest(body, service.limits, invocation)
    found = service.tokens(
        request.inputs,
        request.prompt_name or "none",
        special=request.add_special_tokens,
        field="inputs",
        invocation=invocation,
    )
    response = [
        [
            {"id": token.id, "text": token.text, "special": token.special, "start": None, "stop": None}
            for token in tokens
        ]
        for tokens in found
    ]
    return response, ""
