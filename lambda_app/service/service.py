"""What the function does, whatever the door: plain dataclasses in and out, no wire format."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lambda_app.cpu import cpu_features, is_checked
from lambda_app.errors import (
    DeadlineError,
    EmptyError,
    FieldError,
    LimitError,
    ResponseTooLargeError,
    TextError,
)
from lambda_app.limits import Limits

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.bundle import ModelInfo
    from lambda_app.models.embedder import InputType
    from lambda_app.models.inference import Checkpoint, OnTruncated
    from lambda_app.models.registry import Runtime
    from lambda_app.models.tokenizer.tokenizer import Side, Token

# What happens to a text of more tokens than the model takes: it loses its end or its start, or is refused.
Truncate = Literal["end", "start", "none"]
# The least that one number of a vector takes in an answer, by how vectors are written: what could not fit is
# refused before any work, and the door checks the exact size afterwards. A float32 in JSON has 16 to 21
# characters, as in -0.023189853876829147, but for rare ones that never make up a whole vector.
BYTES_PER_NUMBER = {
    "float": 16.0,
    "base64": 16 / 3,
    "int8": 2.0,
    "uint8": 2.0,
    "binary": 2 / 8,
    "ubinary": 2 / 8,
}
# How much more than the least a float takes at most, with what stands between it and the next.
MOST_PER_LEAST = 23 / 16
# Time to write one number of a vector as JSON, for us and again for Lambda's runtime client.
SECONDS_PER_NUMBER = 2e-6
# The least that one token takes, as in {"id":1,"text":"a","special":false,"start":null,"stop":null}.
BYTES_PER_TOKEN = 60


class EmbedRequest(NamedTuple):
    """``dimensions`` of None gives the model's own, fewer only what the model was trained for;
    ``encodings`` are names of :data:`BYTES_PER_NUMBER`, for how the answer will write each vector;
    ``max_tokens`` is the most that is read of a text; ``deadline`` is on :func:`time.monotonic`'s clock;
    ``field`` and ``dimensions_field`` are what the caller calls the texts and the dimensions, for errors;
    ``response_bytes`` is the most that its envelope holds, where that is less than Lambda's."""

    texts: Sequence[str]
    input_type: InputType
    encodings: Sequence[str] = ("float",)
    dimensions: int | None = None
    truncate: Truncate = "end"
    max_tokens: int | None = None
    deadline: float | None = None
    field: str = "texts"
    dimensions_field: str = "dimensions"
    response_bytes: int | None = None


class EmbedResult(NamedTuple):
    """``vectors`` is (texts, dimensions) float32, each of length 1, in the order of the request."""

    model: str
    fingerprint: str
    vectors: np.ndarray
    tokens: int
    truncated: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])


class RerankRequest(NamedTuple):
    """``top_n`` of None gives all documents; ``raw_scores`` gives the model's logit (or cosine) untouched;
    ``document_tokens`` is the most that is read of a document; ``field`` is what the caller calls the
    documents."""

    query: str
    documents: Sequence[str]
    top_n: int | None = None
    raw_scores: bool = False
    truncate: Truncate = "end"
    document_tokens: int | None = None
    deadline: float | None = None
    field: str = "documents"


class RerankResult(NamedTuple):
    """``results`` are (place in the request, score), best first, ties by place."""

    model: str
    fingerprint: str
    results: tuple[tuple[int, float], ...]
    tokens: int
    truncated: tuple[int, ...]


class Tally(NamedTuple):
    """What was done since the dispatcher last looked, for the log line of an invocation."""

    items: int = 0
    tokens: int = 0


class Service:
    """Embeds and reranks with what the runtime holds, inside the limits."""

    def __init__(self, runtime: Runtime, limits: Limits | None = None) -> None:
        self._runtime = runtime
        self.limits = limits or Limits()
        self.tally = Tally()

    def embed(self, request: EmbedRequest) -> EmbedResult:
        """Embeds the texts.

        Raises:
            RequestError: a text or the number of texts is out of bounds, or no embedding model is served.
            DeadlineError: time ran out between batches.
            InferenceError: the model gave a value that is not finite.
        """
        self._check_texts(request.texts, request.field, self.limits.embed_texts)
        embedder = self._runtime.embedder
        dimensions = _check_dimensions(embedder.model, request.dimensions, request.dimensions_field)
        self._check_answer_fits(request, dimensions)
        checkpoint = _checkpoint(_before_writing(request, dimensions), len(request.texts))
        output = embedder.embed(
            request.texts,
            request.input_type,
            cut=_side(request.truncate),
            max_tokens=request.max_tokens,
            on_truncated=_refusal(request.truncate, request.field),
            checkpoint=checkpoint,
        )
        self._count(len(request.texts), output.tokens)
        return EmbedResult(
            embedder.model.id,
            embedder.model.fingerprint,
            _shortened(output.vectors, dimensions),
            output.tokens,
            output.truncated,
        )

    def rerank(self, request: RerankRequest) -> RerankResult:
        """Ranks the documents by relevance to the query.

        A cross-encoder's score is its activation of the logit; a bi-encoder's is the cosine mapped to [0, 1].

        Raises:
            RequestError: a text, ``top_n`` or the number of documents is out of bounds, or no reranker is
            served. DeadlineError: time ran out between batches.
            InferenceError: the model gave a value that is not finite.
        """
        if request.top_n is not None and request.top_n < 1:
            raise FieldError("top_n must be at least 1", param="top_n")
        self._check_texts([request.query], "query", 1)
        self._check_texts(request.documents, request.field, self.limits.rerank_documents)
        bi_encoder = self._runtime.bundle.rerank_kind == "bi-encoder" and self._runtime.serves("reranker")
        rank = self._rank_by_cosine if bi_encoder else self._rank_by_cross_encoder
        result = rank(request)
        self._count(len(request.documents), result.tokens)
        return result

    def _rank_by_cross_encoder(self, request: RerankRequest) -> RerankResult:
        reranker = self._runtime.reranker
        checkpoint = _checkpoint(request.deadline, len(request.documents))
        output = reranker.score(
            request.query,
            request.documents,
            cut=_side(request.truncate),
            document_tokens=request.document_tokens,
            on_truncated=_refusal(request.truncate, request.field),
            checkpoint=checkpoint,
        )
        scores = output.logits.astype("float64")
        if reranker.model.activation == "sigmoid" and not request.raw_scores:
            scores = _sigmoid(scores)
        return _ranked(reranker.model, scores, output.tokens, output.truncated, request.top_n)

    def _rank_by_cosine(self, request: RerankRequest) -> RerankResult:
        embedder = self._runtime.embedder
        checkpoint = _checkpoint(request.deadline, len(request.documents))
        cut = _side(request.truncate)
        query = embedder.embed(
            [request.query],
            "query",
            cut=cut,
            on_truncated=_refusal(request.truncate, "query", single=True),
            checkpoint=_checkpoint(request.deadline, len(request.documents), query=True),
        )
        documents = embedder.embed(
            request.documents,
            "passage",
            cut=cut,
            max_tokens=request.document_tokens,
            on_truncated=_refusal(request.truncate, request.field),
            checkpoint=checkpoint,
        )
        scores = documents.vectors.astype("float64") @ query.vectors[0].astype("float64")
        if not request.raw_scores:
            # Rounding can put the cosine of two equal vectors a hair outside of [-1, 1].
            scores = ((scores + 1) / 2).clip(0.0, 1.0)
        truncated = tuple(range(len(request.documents))) if query.truncated else documents.truncated
        return _ranked(embedder.model, scores, query.tokens + documents.tokens, truncated, request.top_n)

    def tokens(
        self, texts: Sequence[str], input_type: InputType, *, special: bool, field: str
    ) -> list[list[Token]]:
        """The tokens of texts, uncut, as the embedding model sees them, or the reranker where there is none
        other; with ``special``, those that the model adds too.

        Raises:
            RequestError: a text or the number of texts is out of bounds, or the answer could not fit.
        """
        self._check_texts(texts, field, self.limits.embed_texts)
        if self._runtime.serves("embedding") or self._runtime.bundle.rerank_kind == "bi-encoder":
            found = self._runtime.embedder.tokens(texts, input_type, special=special)
        else:
            found = self._runtime.reranker.tokens(texts, special=special)
        count = sum(map(len, found))
        if count * BYTES_PER_TOKEN > self.limits.response_bytes:
            raise ResponseTooLargeError(
                f"{count} tokens cannot fit one answer: send fewer texts", param=field
            )
        self._count(len(texts), count)
        return found

    def _count(self, items: int, tokens: int) -> None:
        self.tally = Tally(self.tally.items + items, self.tally.tokens + tokens)

    def models(self) -> list[ModelInfo]:
        """The models this function serves, embedding first."""
        bundle = self._runtime.bundle
        uses_embedding = self._runtime.serves("embedding") or bundle.rerank_kind == "bi-encoder"
        served = {"embedding": uses_embedding, "reranker": self._runtime.serves("reranker")}
        return [model for model in bundle.models() if served[model.role]]

    def info(self) -> dict[str, Any]:
        """What runs here: models, quantization, CPU features, versions, limits and the cold start's
        phases."""
        runtime = self._runtime
        clock = runtime.clock
        features = cpu_features()
        return {
            "models": {model.role: _describe(model, features) for model in self.models()},
            "rerank_kind": runtime.bundle.rerank_kind if runtime.serves("reranker") else None,
            "build": dict(runtime.bundle.build),
            "threads": runtime.threads,
            "memory_mb": runtime.settings.memory_mb,
            "initialization_type": runtime.settings.initialization_type,
            "cpu": {"architecture": platform.machine(), "features": features},
            "versions": {"python": platform.python_version(), **_library_versions()},
            "limits": self.limits._asdict(),
            "cold_start": {"phases_ms": clock.milliseconds(), "spans_ms": clock.spans()},
        }

    def _check_texts(self, texts: Sequence[str], field: str, most: int) -> None:
        if not texts:
            raise EmptyError(f"{field} must hold at least one text", param=field)
        if len(texts) > most:
            raise LimitError(f"{field} holds {len(texts)} texts, at most {most} fit one request", param=field)
        total = sum(map(len, texts))
        if total > self.limits.total_characters:
            raise LimitError(
                f"{field} holds {total} characters, {self.limits.total_characters} fit one request",
                param=field,
            )
        for index, text in enumerate(texts):
            self.check_text(text, field if most == 1 else f"{field}[{index}]")

    def check_text(self, text: str, where: str) -> None:
        """Refuses a text that cannot be served, whatever it comes with.

        Raises:
            TextError, LimitError: naming it as ``where``.
        """
        if not text:
            raise TextError(f"{where} is empty", param=where)
        if len(text) > self.limits.text_characters:
            most_characters = self.limits.text_characters
            raise LimitError(
                f"{where} has {len(text)} characters, a text may have {most_characters}: split it",
                param=where,
            )
        if "\0" in text:
            raise TextError(f"{where} contains a NUL character: remove it", param=where)
        if not (text.isascii() or _encodable(text)):
            raise TextError(f"{where} contains a lone surrogate, which is no Unicode text", param=where)

    def _check_answer_fits(self, request: EmbedRequest, dimensions: int) -> None:
        per_text = dimensions * sum(BYTES_PER_NUMBER[encoding] for encoding in request.encodings)
        room = min(self.limits.response_bytes, request.response_bytes or self.limits.response_bytes)
        if len(request.texts) > int(room / per_text):
            # Told is what fits in any case: see the comment at the numbers.
            most = max(1, int(room / (per_text * (MOST_PER_LEAST if "float" in request.encodings else 1))))
            cure = ", or ask for base64" if "float" in request.encodings else ""
            raise ResponseTooLargeError(
                f"the vectors of {len(request.texts)} texts cannot fit an answer of {room} bytes: "
                f"send at most {most}{cure}",
                param=request.field,
                fit=most,
            )


def _library_versions() -> dict[str, str]:
    names = ("onnxruntime", "tokenizers", "numpy", "fastapi", "mangum", "awslambdaric")
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in names}
    return {name: str(version) for name, version in loaded.items() if version is not None}


def _describe(model: ModelInfo, features: Sequence[str]) -> dict[str, Any]:
    return {
        "id": model.id,
        "revision": model.source.get("revision"),
        "architecture": model.architecture,
        "dimensions": model.dimensions,
        "matryoshka": list(model.matryoshka),
        "max_tokens": model.max_tokens,
        "pooling": model.pooling,
        "prompts": dict(model.prompts),
        "activation": model.activation,
        "quantization": {
            "scheme": model.quantization.scheme,
            "weight_bits": model.quantization.weight_bits,
            "instruction_sets": list(model.quantization.instruction_sets),
            "checked_for_this_cpu": is_checked(model.quantization.instruction_sets, features),
        },
        "tokenizer": model.tokenizer_kind,
        "fingerprint": model.fingerprint,
        "bytes": sum(file.bytes for file in model.files),
        "parity": dict(model.parity),
    }


def _checkpoint(deadline: float | None, total: int, *, query: bool = False) -> Checkpoint | None:
    if deadline is None:
        return None

    def check(done: int, seconds: float = 0.0) -> None:
        if time.monotonic() + seconds >= deadline:
            # A query is no item: without it there is none done.
            done = 0 if query else done
            raise DeadlineError(
                f"time ran out after {done} of {total} items: send fewer, or give the function more time",
                done=done,
                total=total,
            )

    return check


def _before_writing(request: EmbedRequest, dimensions: int) -> float | None:
    """The deadline, less what it takes to write the vectors as JSON once they are there."""
    if request.deadline is None:
        return None
    numbers = len(request.texts) * dimensions * sum(encoding != "base64" for encoding in request.encodings)
    return request.deadline - numbers * SECONDS_PER_NUMBER


def _side(truncate: Truncate) -> Side:
    return "start" if truncate == "start" else "end"


def _refusal(truncate: Truncate, field: str, *, single: bool = False) -> OnTruncated | None:
    if truncate != "none":
        return None

    def refuse(indices: tuple[int, ...]) -> None:
        where = field if single else f"{field}[{indices[0]}]"
        raise LimitError(
            f"{where} has more tokens than the model takes: shorten it, or allow truncation", param=where
        )

    return refuse


def _check_dimensions(model: ModelInfo, wanted: int | None, field: str) -> int:
    own, shorter = model.dimensions, model.matryoshka
    if wanted is None or wanted == own or wanted in shorter:
        return wanted or own
    if shorter:
        message = f"{field} must be one of {', '.join(map(str, (own, *shorter)))}"
    else:
        message = f"{field} must be {own}: this model's vectors cannot be shortened"
    raise FieldError(message, param=field)


def _shortened(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The first numbers of each vector, at length 1 again."""
    if dimensions == vectors.shape[1]:
        return vectors
    import numpy as np

    cut = vectors[:, :dimensions]
    # A vector that is all zeros in front, should there be one, stays so.
    length = np.linalg.norm(cut, axis=1, keepdims=True)
    shortened: np.ndarray = cut / np.maximum(length, np.finfo(np.float32).tiny)
    return shortened


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    # exp of a large positive number overflows; of a large negative one it is just 0.
    small = np.exp(-np.abs(logits))
    scores: np.ndarray = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
    return scores


def _ranked(
    model: ModelInfo, scores: np.ndarray, tokens: int, truncated: tuple[int, ...], top_n: int | None
) -> RerankResult:
    # A stable sort of the negated scores keeps ties in the order of the request.
    order = (-scores).argsort(kind="stable")[:top_n]
    results = tuple((int(index), float(scores[index])) for index in order)
    return RerankResult(model.id, model.fingerprint, results, tokens, truncated)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
