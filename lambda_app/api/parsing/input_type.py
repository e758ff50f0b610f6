"""The input type of a text, query or passage, in the words of every API.

A model such as e5 expects a prompt in front of each text, by its input type. The caller states it, or the
route's documented default is used; it is never guessed from the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lambda_app.errors import FieldError

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType

# Our own, Voyage's and TEI's words. "document" is what Voyage and sentence-transformers call a passage.
INPUT_TYPES: Mapping[str, InputType] = {
    "query": "query",
    "passage": "passage",
    "document": "passage",
    "none": "none",
}


def of_model_name(name: str) -> InputType | None:
    """Returns the input type at the end of a model's name, as in ``e5-base-v2:query``, or None.

    The rest of the name is not looked at: the response names the real model.
    """
    _, colon, word = name.rpartition(":")
    return INPUT_TYPES.get(word) if colon else None


def agreed(stated: Mapping[str, InputType | None], default: InputType) -> InputType:
    """Returns the one input type that all fields which state one ask for.

    Raises:
        FieldError: two fields ask for different ones.
    """
    given = {name: input_type for name, input_type in stated.items() if input_type is not None}
    if len(set(given.values())) > 1:
        names = " and ".join(given)
        raise FieldError(
            f"{names} ask for different input types: leave one of them out", param=next(iter(given))
        )
    return next(iter(given.values()), default)
