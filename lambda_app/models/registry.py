"""Opens what this function needs, in the order that starts fastest, and holds it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.cpu import available_cpus
from lambda_app.errors import ConfigurationError, ModelUnavailableError
from lambda_app.limits import REPACK_MEMORY_MB, REPACK_TOKENS

if TYPE_CHECKING:
    from lambda_app.coldstart.clock import PhaseClock
    from lambda_app.models.embedder import Embedder
    from lambda_app.models.reranker import Reranker
    from lambda_app.models.session import Session
    from lambda_app.models.tokenizer.tokenizer import Tokenizer
    from lambda_app.settings import ModelTask, Settings


class ModelRegistry:
    """The bundle and its open models.

    A model that init did not open is opened by the first request for it.
    """

    def __init__(self, settings: Settings, clock: PhaseClock) -> None:
        """Reads and checks the bundle; opens nothing yet.

        Raises:
            BundleError: the bundle cannot be used.
            ConfigurationError: MODELS asks for a model that the bundle does not have.
        """
        self.settings = settings
        self.clock = clock
        with clock.phase("bundle"):
            self.bundle = Bundle.open(settings.model_dir)
        self.threads = settings.inference_threads(available_cpus())
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None
        self._reranker: Reranker | None = None
        _check_models(settings, self.bundle)

    def serves(self, task: ModelTask) -> bool:
        """Whether this function was deployed to serve the task: in the bundle, and not left out by MODELS."""
        chosen = self.settings.models
        if chosen is not None and task not in chosen:
            return False
        return _in_bundle(self.bundle, task)

    @property
    def ranks_with_embedder(self) -> bool:
        """Whether reranking is served by the embedding model, as a bi-encoder."""
        return self.bundle.rerank_kind == "bi-encoder" and self.serves("reranker")

    @property
    def uses_embedder(self) -> bool:
        """Whether any request needs the embedding model."""
        return self.serves("embedding") or self.ranks_with_embedder

    @property
    def embedder(self) -> Embedder:
        """The embedding model, opened if it is not yet. A bi-encoder's ranking uses it too.

        So that it is there is no permission to embed: see :meth:`serves`.

        Raises:
            ModelUnavailableError: this function serves nothing that needs it.
        """
        if self._embedder is None:
            model = self.bundle.embedding
            if model is None or not self.uses_embedder:
                raise ModelUnavailableError("this function serves no embedding model")
            with self._lock:
                if self._embedder is None:
                    from lambda_app.models.embedder import Embedder

                    self._embedder = Embedder(model, *self._open(model))
        return self._embedder

    @property
    def reranker(self) -> Reranker:
        """The cross-encoder, opened if it is not yet.

        Raises:
            ModelUnavailableError: this function has no cross-encoder.
        """
        if self._reranker is None:
            model = self.bundle.reranker
            if model is None or not self.serves("reranker"):
                raise ModelUnavailableError("this function serves no reranker")
            with self._lock:
                if self._reranker is None:
                    from lambda_app.models.reranker import Reranker

                    self._reranker = Reranker(model, *self._open(model))
        return self._reranker

    def preload(self) -> None:
        """Opens the models that PRELOAD names and this function serves.

        In one thread, whatever the CPUs: sessions over mapped weights open in milliseconds, and a second
        thread beside the imports that follow would wait for the interpreter's lock, and they for it.

        Raises:
            BundleError: a model cannot be opened.
        """
        wanted = self._preloaded()
        if not wanted:
            return
        with self.clock.phase("imports"):
            import lambda_app.models.session
            import lambda_app.models.tokenizer.load  # noqa: F401
        for model in wanted:
            opened = self.embedder if model.task == "embedding" else self.reranker
            if self.settings.eager:
                with self.clock.phase("first inference"):
                    opened.warm()

    def _preloaded(self) -> list[ModelInfo]:
        wanted: list[ModelInfo] = []
        embeds = self.serves("embedding") and "embedding" in self.settings.preload
        ranks = self.serves("reranker") and "reranker" in self.settings.preload
        if self.bundle.embedding and (embeds or (ranks and self.ranks_with_embedder)):
            wanted.append(self.bundle.embedding)
        if self.bundle.reranker and ranks:
            wanted.append(self.bundle.reranker)
        return wanted

    @property
    def _prepack(self) -> bool | None:
        # Ahead of traffic the time and memory of repacking are free, and every call is faster for it. Where
        # processes share the mapped weights, each would repack a copy of its own.
        fits = self.settings.processes == 1 or self._repack_tokens is not None
        return True if self.settings.eager and fits else None

    @property
    def _repack_tokens(self) -> int | None:
        memory = self.settings.memory_mb
        enough = memory is None or memory // self.settings.processes >= REPACK_MEMORY_MB
        return REPACK_TOKENS if enough else None

    def _warn(self, event: str, message: str) -> None:
        from lambda_app.coldstart.logs import JsonLog

        JsonLog(self.settings.log_level).warning(event, message=message)

    def _open(self, model: ModelInfo) -> tuple[Session, Tokenizer]:
        from lambda_app.models.session import open_session
        from lambda_app.models.tokenizer import open_tokenizer

        with self.clock.phase("sessions"):
            session = open_session(
                model,
                threads=self.threads,
                prepack=self._prepack,
                repack_tokens=self._repack_tokens,
                warn=self._warn,
            )
        with self.clock.phase("tokenizers"):
            return session, open_tokenizer(model)


def _in_bundle(bundle: Bundle, task: ModelTask) -> bool:
    return bundle.embedding is not None if task == "embedding" else bundle.rerank_kind is not None


def _check_models(settings: Settings, bundle: Bundle) -> None:
    for task in sorted(settings.models or ()):
        if not _in_bundle(bundle, task):
            raise ConfigurationError(
                f"MODELS names {task}, but the bundle at {bundle.directory} has no such model", param="MODELS"
            )
