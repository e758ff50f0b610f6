"""The input type of a text, query or passage, in the words of every API.

A model such as e5 expects a prompt in front of each text, by its input type. The caller states it, or the
route's documented default is used; it is never guessed from the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lambda_app.api.parsing import fields
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
# Words after the colon of an ordinary name, as Ollama, OpenRouter and registries of images write it. Ends
# that are no word, as in titan-embed-text-v2:0 or bge-m3:567m, belong to the name too.
TAGS = frozenset({"base", "default", "free", "large", "latest", "main", "master", "small", "stable"})


def of_model_name(name: str, *, has_prompts: bool) -> InputType | None:
    """Returns the input type at the end of a model's name, as in ``e5-base-v2:query``, or None.

    The rest of the name is not looked at: the response names the real model. Where the model has prompts, a
    misspelt input type would silently give other vectors.

    Raises:
        FieldError: the name ends in a word that is not an input type.
    """
    _, colon, end = name.rpartition(":")
    word = fields.word_of(end, INPUT_TYPES)
    if word is not None and colon:
        return INPUT_TYPES[word]
    if colon and has_prompts and _is_misspelt(end.lower()):
        raise FieldError(
            f"model ends in a word that is no input type: after the colon write {', '.join(INPUT_TYPES)}, or "
            "leave both out",
            param="model",
        )
    return None


def _is_misspelt(end: str) -> bool:
    """Whether the end of a name is an input type that is misspelt, and not a version or a tag."""
    if any(word in end for word in ("query", "passage", "document")):
        return True
    return end.replace("_", "").isalpha() and end not in TAGS


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
