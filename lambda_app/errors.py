"""Every error that leaves this package, each with a stable code.

Nothing here knows of HTTP: each API (``api/http/error_responses.py``, ``api/events/direct.py``) maps the
classes once, in one table. Messages are written for the caller and never contain the caller's text, a path
or a key.
"""

from __future__ import annotations

from collections.abc import Sequence


class LambdaAppError(Exception):
    """Base of the tree. ``code`` is stable and machine-readable; ``param`` names the offending field."""

    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        """Takes a message for the caller; ``code`` replaces that of the class."""
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class RequestError(LambdaAppError):
    """The caller's mistake: the message says what to change."""

    code = "invalid_request"


class InvalidJSONError(RequestError):
    """The body is not JSON (or nests deeper than any request can)."""

    code = "invalid_json"


class UnsupportedEncodingError(RequestError):
    """The body is encoded in a way that is not read here."""

    code = "unsupported_encoding"


class FieldError(RequestError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "invalid_field"


class EmptyError(FieldError):
    """A list without a single item."""


class TextError(RequestError):
    """A text that cannot be tokenized: empty, with a NUL, or with a lone surrogate, or without tokens.

    ``indices`` are those of all texts of a request in which the tokenizer finds nothing.
    """

    code = "invalid_text"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        indices: tuple[int, ...] = (),
    ) -> None:
        """Takes a message for the caller, and the texts without tokens."""
        super().__init__(message, param=param, code=code)
        self.indices = frozenset(indices)


class LimitError(RequestError):
    """More than ``limits.py`` allows."""

    code = "limit_exceeded"


class ResponseTooLargeError(LimitError):
    """The response is larger than the caller can receive.

    ``fit`` is the number of items whose response is not, where that is known; ``size`` the bytes that the
    response has at least.
    """

    code = "response_too_large"

    def __init__(
        self, message: str, *, param: str | None = None, fit: int | None = None, size: int = 0
    ) -> None:
        """Takes a message for the caller, and the number of items that fit."""
        super().__init__(message, param=param)
        self.fit = fit
        self.size = size


class UnsupportedEventError(RequestError):
    """An event that comes from no known event source."""

    code = "unsupported_event"


class UnservedEventError(LambdaAppError):
    """An event of a source that is known and not served, whose response nobody reads: it is always raised."""

    code = "unserved_event"


class AuthenticationError(RequestError):
    """No key, or one that is not known."""

    code = "invalid_api_key"


class NotFoundError(RequestError):
    """No such route."""

    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The route exists, the method does not."""

    code = "method_not_allowed"


class ModelUnavailableError(RequestError):
    """The function was deployed without the model that this request needs."""

    code = "model_unavailable"


class DeadlineError(LambdaAppError):
    """The invocation's remaining time ran out before all items were done."""

    code = "deadline_exceeded"

    def __init__(self, message: str, *, done: int, total: int) -> None:
        """Takes a message for the caller, and how many items of how many were done."""
        super().__init__(message)
        self.done = done
        self.total = total


class StorageRefusedError(RequestError):
    """An object or an index that is not there, may not be used, or has changed; its code says which."""

    code = "storage_access_denied"


class JobFailedError(RequestError):
    """A job of bulk that did not deal with each of its rows once; its code says how."""

    code = "rows_missing"


class StorageError(LambdaAppError):
    """S3 or S3 Vectors did not answer, also when asked again."""

    code = "storage_failed"


class NotStoredError(LambdaAppError):
    """Raised by a sink that stored some results and not others: ``places`` are those of the others."""

    code = "result_not_stored"

    def __init__(self, message: str, places: Sequence[int]) -> None:
        """Takes a message for the log, and places in the list of results."""
        super().__init__(message)
        self.places = places


class ConfigurationError(LambdaAppError):
    """An environment variable has a value that cannot be used. Raised in init."""

    code = "invalid_configuration"


class BundleError(LambdaAppError):
    """The bundle is missing, foreign, incomplete or altered. Raised in init, naming the file."""

    code = "invalid_bundle"


class FetchError(BundleError):
    """A bundle could not be fetched; its code says why. Raised in init."""

    code = "bundle_download_failed"


class InferenceError(LambdaAppError):
    """The model gave a result that must not leave, such as a value that is not finite."""

    code = "inference_failed"
