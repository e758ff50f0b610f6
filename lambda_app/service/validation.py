"""Refuses what cannot be served, before any inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from lambda_app.errors import EmptyError, FieldError, LimitError, ResponseTooLargeError, TextError
from lambda_app.text import encodable

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.limits import Limits
    from lambda_app.models.inference import OnEmpty, OnTruncated
    from lambda_app.service.types import EmbedRequest, Truncate

# The fewest bytes that one number of a vector takes in a response, by encoding: what cannot fit is refused
# before any work, and the API checks the exact size afterwards. The shortest digits of a float32 and what
# separates it from the next have 10 to 17 characters, as in -0.023189854, but for rare ones that never make
# up a whole vector.
BYTES_PER_NUMBER = {
    "float": 10.0,
    "base64": 16 / 3,
    "int8": 2.0,
    "uint8": 2.0,
    "binary": 2 / 8,
    "ubinary": 2 / 8,
}
# What a float takes in JSON on average over a vector of length 1, separator included, over the fewest:
# measured as 12.2 bytes for 384 dimensions, with 2% to spare.
MEAN_PER_MIN = 12.5 / 10
# The fewest bytes of one token, as in {"id":1,"text":"a","special":false,"start":null,"stop":null}.
BYTES_PER_TOKEN = 60


# Checks a text, given the name of its place and the limits.
Check = Callable[[str, str, "Limits"], None]


def check_text(text: str, where: str, limits: Limits) -> None:
    """Checks one text, independent of the others.

    Raises:
        TextError: it is empty, or holds a NUL or a lone surrogate.
        LimitError: it is too long.
    """
    if not text:
        raise TextError(f"{where} is empty", param=where)
    check_characters(text, where, limits)


def check_characters(text: str, where: str, limits: Limits) -> None:
    """Checks one text that may be empty.

    Raises:
        TextError: it holds a NUL or a lone surrogate.
        LimitError: it is too long.
    """
    if len(text) > limits.text_characters:
        raise LimitError(
            f"{where} has {len(text)} characters, a text may have {limits.text_characters}: split it",
            param=where,
        )
    if "\0" in text:
        raise TextError(f"{where} contains a NUL character: remove it", param=where)
    if not (text.isascii() or encodable(text)):
        raise TextError(f"{where} contains a lone surrogate, which is not Unicode text", param=where)


def check_texts(
    texts: Sequence[str], field: str, max_texts: int, limits: Limits, *, check: Check = check_text
) -> None:
    """Checks the number of texts, their length together, and each text.

    Raises:
        RequestError: naming ``field``, or the text in it.
    """
    if not texts:
        raise EmptyError(f"{field} must hold at least one text", param=field)
    if len(texts) > max_texts:
        raise LimitError(
            f"{field} holds {len(texts)} texts, at most {max_texts} fit one request", param=field
        )
    check_total(sum(map(len, texts)), field, limits)
    for index, text in enumerate(texts):
        check(text, field if max_texts == 1 else f"{field}[{index}]", limits)


def check_total(characters: int, field: str, limits: Limits) -> None:
    """Checks the characters of all texts together; also before texts are joined of parts.

    Raises:
        LimitError: there are too many.
    """
    if characters > limits.total_characters:
        raise LimitError(
            f"{field} holds {characters} characters, {limits.total_characters} fit one request", param=field
        )


def check_dimensions(model: ModelInfo, wanted: int | None, field: str) -> int:
    """Returns the dimensions of a vector: those requested, or the model's own.

    Raises:
        FieldError: the model was not trained for the requested dimensions.
    """
    own, shorter = model.dimensions, model.matryoshka
    if wanted is None or wanted == own or wanted in shorter:
        return wanted or own
    if shorter:
        message = f"{field} must be one of {', '.join(map(str, (own, *shorter)))}"
    else:
        message = f"{field} must be {own}: this model's vectors cannot be shortened"
    raise FieldError(message, param=field)


def check_vectors_fit(request: EmbedRequest, dimensions: int, max_bytes: int) -> None:
    """Checks that the vectors of a request can fit a response of ``max_bytes``.

    Raises:
        ResponseTooLargeError: with the number of texts that fit; the exact size is checked afterwards.
    """
    per_text = dimensions * sum(BYTES_PER_NUMBER[encoding] for encoding in request.encodings)
    if len(request.texts) <= int(max_bytes / per_text):
        return
    floats = "float" in request.encodings
    fit = max(1, int(max_bytes / (per_text * (MEAN_PER_MIN if floats else 1))))
    cure = ", or ask for base64" if floats else ""
    raise ResponseTooLargeError(
        f"the vectors of {len(request.texts)} texts cannot fit an answer of {max_bytes} bytes: "
        f"send at most {fit}{cure}",
        param=request.field,
        fit=fit,
        size=int(len(request.texts) * per_text),
    )


def check_tokens_fit(count: int, field: str, max_bytes: int) -> None:
    """Checks that ``count`` tokens, or as many as there are so far, can fit a response of ``max_bytes``.

    Raises:
        ResponseTooLargeError: they cannot.
    """
    if count * BYTES_PER_TOKEN > max_bytes:
        raise ResponseTooLargeError(
            f"{count} tokens or more cannot fit one answer: send fewer texts", param=field
        )


def empty_refusal(field: str, *, single: bool = False) -> OnEmpty:
    """Returns a function that refuses texts without tokens, such as one zero-width character."""

    def refuse(indices: tuple[int, ...]) -> NoReturn:
        if single:
            raise no_tokens(field)
        raise no_tokens(f"{field}[{indices[0]}]", indices)

    return refuse


def no_tokens(where: str, indices: tuple[int, ...] = ()) -> TextError:
    """Returns the error of a text without tokens; ``indices`` are those of all such texts of a request."""
    return TextError(f"{where} has no tokens for this model: leave it out", param=where, indices=indices)


def refusal(
    truncate: Truncate, field: str, *, single: bool = False, places: Sequence[int] | None = None
) -> OnTruncated | None:
    """Returns a function that refuses texts of too many tokens, None where they are truncated.

    ``places`` are those of the texts in the request, where some of it were left out.
    """
    if truncate != "none":
        return None

    def refuse(indices: tuple[int, ...]) -> None:
        place = indices[0] if places is None else places[indices[0]]
        where = field if single else f"{field}[{place}]"
        raise LimitError(
            f"{where} has more tokens than the model takes: shorten it, or allow truncation", param=where
        )

    return refuse
