"""Every way a build ends early. Each has a stable code; the command line prints ``error[code]: ...``."""

from __future__ import annotations

import errno


class BuildError(Exception):
    """The build cannot go on. ``exit_code`` is what the command line returns."""

    code = "build_failed"
    exit_code = 1

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Takes the message and, where the class's own does not fit, another code."""
        super().__init__(message)
        if code is not None:
            self.code = code


class ConfigError(BuildError):
    """A config file, flag or environment variable has a value that cannot be used."""

    code = "invalid_config"
    exit_code = 2


class EvaluationError(BuildError):
    """The file of ``--eval`` cannot be used."""

    code = "invalid_evaluation"
    exit_code = 2


class SourceError(BuildError):
    """A model's files could not be had, or are not what they should be.

    Codes: ``source_not_found``, ``revision_not_found``, ``revision_not_pinned``, ``file_not_found``,
    ``access_denied``, ``hub_unreachable``, ``offline``, ``download_failed``, ``source_damaged``,
    ``unsupported_layout``.
    """

    code = "source_failed"


class ModelMismatchError(BuildError):
    """A model's own files contradict the config, or ask for something that the build refuses to do.

    Codes: ``pooling_mismatch``, ``prompts_mismatch``, ``max_tokens_mismatch``, ``activation_mismatch``,
    ``dimensions_mismatch``, ``wrong_task``, ``remote_code``, ``pickled_weights``, ``vocabulary_mismatch``,
    ``tokenizer_mismatch``, ``unsupported_model``.
    """

    code = "model_mismatch"


class ExportError(BuildError):
    """PyTorch, optimum or onnxruntime could not turn the model into a graph of the expected form."""

    code = "export_failed"


class ParityError(BuildError):
    """The bundle's answers are further from the PyTorch model's than the config allows."""

    code = "parity_failed"

    def __init__(self, message: str, *, table: str = "") -> None:
        """Takes the message, and the table of all figures, which is shown before it."""
        super().__init__(message)
        self.table = table


class OutputError(BuildError):
    """The bundle could not be written where it should be. Codes: ``output_not_writable``, ``disk_full``."""

    code = "output_not_writable"


# RLIMIT_FSIZE and quotas end a write like a full disk does.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def disk_full(error: BaseException) -> OutputError | None:
    """Returns the error of a full disk if ``error``, or what caused it, is one; else None."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            where = f" while writing {seen.filename}" if seen.filename else ""
            return OutputError(f"the disk is full{where}: free some space and run again", code="disk_full")
        seen = seen.__cause__ or seen.__context__
    return None
