"""The command line: ``python build_models.py --help``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builder.arguments import parser
from builder.bundle import check_place
from builder.config.load import load_config
from builder.config.schema import BI_ENCODER, QUANTIZATIONS, BuildConfig, Overrides
from builder.config.source_spec import LocalSource, format_source, require_directory
from builder.errors import BuildError, ConfigError, EvaluationError, ParityError, disk_full
from builder.parity.evaluation import Evaluation, read_evaluation
from lambda_app.bundle import verify_bundle
from lambda_app.errors import BundleError


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Runs the command line and returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.compare is not None:
            return _compare(options, environ)
        if options.verify is not None:
            return _verify(options.verify)
        config = load_config(options.config, _overrides(options), environ)
        if options.list:
            _check_local(config)
            print(_listing(config, options.config))
            return 0
        return _build(config, options.out or Path("models"), environ, _evaluation(options.eval, config))
    except ParityError as error:
        print(error.table)
        return _fail(error, options.debug)
    except BuildError as error:
        return _fail(error, options.debug)
    except KeyboardInterrupt:
        print("error[interrupted]: stopped; nothing was changed", file=sys.stderr)
        return 130
    except Exception as error:
        failure = disk_full(error) or BuildError(f"{type(error).__name__}: {error} (--debug shows where)")
        failure.__cause__ = error
        return _fail(failure, options.debug)


def _evaluation(path: Path | None, config: BuildConfig) -> Evaluation | None:
    if path is None:
        return None
    if config.parity == "off":
        raise EvaluationError("--eval measures parity, and that is off: leave one of the two out")
    found = read_evaluation(path)
    if config.embedding is None and not found.rankings:
        raise EvaluationError(
            f"{path.name} has texts only, and a cross-encoder scores pairs: write lines of query and passage"
        )
    return found


def _build(config: BuildConfig, out: Path, environ: Mapping[str, str], evaluation: Evaluation | None) -> int:
    check_place(out.absolute())
    print(f"building {out} for {config.arch}, quantization {config.quantization}", file=sys.stderr)
    # PyTorch and its companions take seconds to import: not before it is clear that they are needed.
    from builder.inputs import gather_inputs
    from builder.progress import Progress

    progress = Progress()
    inputs = gather_inputs(config, cache_directory(environ), progress)
    with progress.step("import PyTorch and onnxruntime"):
        from builder import pipeline
        from builder.summary import summary
    epoch = environ.get("SOURCE_DATE_EPOCH")
    built = pipeline.build(config, inputs, out, progress, epoch=epoch, evaluation=evaluation)
    print(summary(built, progress))
    print(f"bundle written to {out}")
    return 0


def _compare(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    schemes = _schemes(options)
    default = load_config(options.config, _overrides(options), environ).quantization
    configs = [
        load_config(options.config, replace(_overrides(options), quantization=scheme, parity="warn"), environ)
        for scheme in schemes
    ]
    evaluation = _evaluation(options.eval, configs[0])
    out = options.out or Path("compare")
    from builder.inputs import gather_inputs
    from builder.progress import Progress

    progress = Progress()
    with progress.step("import PyTorch and onnxruntime"):
        from builder.compare import compare
        from builder.compare import table as compare_table
    compare.check_place(out)
    inputs = gather_inputs(configs[0], cache_directory(environ), progress)
    report = compare.compare(configs, default, inputs, out, progress, evaluation=evaluation)
    print(compare_table.summary(report))
    print(f"{out / compare.JSON_FILE} and {out / compare.PAGE_FILE} written")
    return 0


def _schemes(options: argparse.Namespace) -> list[str]:
    """Returns the schemes of ``--compare``, and refuses flags that do not go with it."""
    for name in ("verify", "list", "quantization", "parity", "arch", "replay"):
        if getattr(options, name):
            raise ConfigError(
                f"--{name} does not go with --compare, which builds the schemes that it names for this "
                "machine and measures them all: leave one of the two out"
            )
    schemes = list(dict.fromkeys(part.strip() for part in options.compare.split(",")))
    for scheme in schemes:
        if scheme not in QUANTIZATIONS:
            raise ConfigError(f"--compare: no scheme {scheme!r} (any of {','.join(QUANTIZATIONS)})")
    return schemes


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Returns the directory that keeps downloads between builds."""
    chosen = environ.get("MODEL_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lambda-embed-rerank"


def _verify(directory: Path) -> int:
    try:
        read = verify_bundle(directory)
    except BundleError as error:
        print(f"error[{error.code}]: {error.message}", file=sys.stderr)
        return 1
    print(f"{directory}: every file is as it was built ({read / 1e6:.1f} MB hashed)")
    return 0


def _check_local(config: BuildConfig) -> None:
    for model in (config.embedding, config.reranker):
        if model is not None and isinstance(model.source, LocalSource):
            require_directory(model.source)


def _listing(config: BuildConfig, path: Path) -> str:
    lines = [f"{path}: quantization {config.quantization}, {config.arch}, parity {config.parity}"]
    if config.embedding is not None:
        model = config.embedding
        lines.append(f"embedding  {model.id}  from {format_source(model.source)}")
        lines.append(
            f"           pooling {model.pooling}, {model.max_tokens} tokens, "
            f"prompts {'as the model declares' if model.prompts is None else dict(model.prompts)}"
        )
        if model.dimensions:
            lines.append(f"           may be cut to {', '.join(map(str, model.dimensions))} dimensions")
    if config.reranker is not None:
        cross = config.reranker
        lines.append(f"reranker   {cross.id}  from {format_source(cross.source)}")
        lines.append(f"           {cross.activation}, {cross.max_tokens} tokens")
    elif config.rerank_kind == BI_ENCODER:
        lines.append("reranker   none of its own: ranks by the embedding model's cosine")
    return "\n".join(lines)


def _overrides(options: argparse.Namespace) -> Overrides:
    return Overrides(
        options.embedding,
        options.reranker,
        options.quantization,
        options.parity,
        options.arch,
        options.replay,
    )


def _fail(error: BuildError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    print(f"error[{error.code}]: {message}", file=sys.stderr)
    return error.exit_code


def run() -> None:
    """Runs the command line as a program: SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())


def _terminate(_signal: int, _frame: object) -> None:
    """SIGTERM ends a build as Ctrl-C does, so that nothing half-written stays."""
    raise KeyboardInterrupt
