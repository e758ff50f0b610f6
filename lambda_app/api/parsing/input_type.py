"""The role of a text, query or passage, in the words of every interface.

A model such as e5 wants a prompt in front of each text, by its role. The role is stated by the caller or is
the route's documented default; it is never guessed from the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.errors import FieldError

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType

# Ours, Voyage's and TEI's words. "document" is what Voyage and sentence-transformers call a passage.
ROLES: Mapping[str, InputType] = {
    "query": "query",
    "passage": "passage",
    "document": "passage",
    "none": "none",
}


def input_type(body: Mapping[str, Any], default: InputType) -> InputType:
    """The role under ``input_type``."""
    return fields.optional_meaning(body, "input_type", ROLES) or default


def alias(body: Mapping[str, Any], name: str = "model") -> InputType | None:
    """The role at the end of a model's name, as in ``e5-base-v2:query``; None where there is none.

    The rest of the name is the caller's own affair: the answer names the real model.
    """
    _, colon, word = fields.optional_text(body, name).rpartition(":")
    return ROLES.get(word) if colon else None


def agreed(stated: Mapping[str, InputType | None], default: InputType) -> InputType:
    """The one role that all fields which state one ask for.

    Raises:
        FieldError: two fields ask for different ones.
    """
    given = {name: role for name, role in stated.items() if role is not None}
    if len(set(given.values())) > 1:
        names = " and ".join(given)
        raise FieldError(f"{names} ask for different roles: leave one of them out", param=next(iter(given)))
    return next(iter(given.values()), default)
