"""The function's settings, and the only reader of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast

from lambda_app.errors import ConfigurationError

ModelTask = Literal["embedding", "reranker"]
Preloadable = Literal["embedding", "reranker", "http"]

MODEL_TASKS: tuple[ModelTask, ...] = ("embedding", "reranker")
PRELOADABLE: tuple[Preloadable, ...] = ("embedding", "reranker", "http")
LOG_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
# Values of AWS_LAMBDA_INITIALIZATION_TYPE under which init happens ahead of traffic.
PROVISIONED = "provisioned-concurrency"
SNAP_START = "snap-start"
MANAGED = "lambda-managed-instances"
# Lambda gives one full vCPU at this much memory, and a share in proportion below and above.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MEGABYTES_PER_VCPU = 1_769
# Beside the package: /var/task/models in the image, models/ in a clone.
DEFAULT_MODEL_DIR = Path(__file__).resolve().parent.parent / "models"
# The RESULT_SINK that throws results away, and the beginnings of those that are ready.
DISCARD = "discard"
READY_SINKS = ("s3://", "s3vectors://")
# The SHA-256 of no characters and of a line's end, as printf and echo give them to sha256sum where a variable
# is not set. The first would open the function to a request without a key.
HASHES_OF_NOTHING = frozenset(
    {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
    }
)
DEFAULT_METRICS_NAMESPACE = "LambdaEmbedRerank"


class Settings(NamedTuple):
    """The settings, read once in init.

    ``models`` is None when the bundle decides. ``memory_mb`` and ``function_name`` are None outside Lambda.
    ``processes`` of this function serve in one environment, each with settings of its own.
    ``api_keys`` are SHA-256 hashes in hexadecimal, empty where HTTP needs no key. ``result_sink`` is
    ``module:function``, :data:`DISCARD` or the address of a ready one. ``bundle_url``, ``result_sink`` and
    ``metrics_namespace`` are None when they are not set. ``start_reader`` is the process that the image's
    launcher left reading ahead.
    """

    model_dir: Path
    bundle_url: str | None
    temporary: Path
    models: frozenset[ModelTask] | None
    preload: frozenset[Preloadable]
    threads: int | None
    processes: int
    memory_mb: int | None
    initialization_type: str
    api_base_path: str
    import_pack: str | None
    start_list: str | None
    start_reader: int | None
    api_keys: tuple[str, ...]
    result_sink: str | None
    cors_allow_origins: tuple[str, ...]
    app_routers: tuple[str, ...]
    refuses_unknown_fields: bool
    strips_nul: bool
    docs_public: bool
    log_level: int
    metrics_namespace: str | None
    function_name: str | None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Reads and checks every variable.

        Raises:
            ConfigurationError: naming the variable and the values it may have.
        """
        models = _choices(environ, "MODELS", MODEL_TASKS)
        preload = _choices(environ, "PRELOAD", PRELOADABLE)
        return cls(
            model_dir=Path(environ.get("MODEL_DIR") or DEFAULT_MODEL_DIR),
            bundle_url=_bundle_url(environ),
            temporary=Path(environ.get("TMPDIR") or "/tmp"),  # noqa: S108 (all that Lambda can write to)
            models=cast("frozenset[ModelTask] | None", models or None),
            preload=cast("frozenset[Preloadable]", frozenset(PRELOADABLE) if preload is None else preload),
            threads=_integer(environ, "INFERENCE_THREADS", 1, 64),
            processes=_integer(environ, "AWS_LAMBDA_MAX_CONCURRENCY", 1, 10_000) or 1,
            memory_mb=_integer(environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1, 1_000_000),
            initialization_type=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            api_base_path=_base_path(environ),
            import_pack=environ.get("IMPORT_PACK") or None,
            start_list=environ.get("START_LIST") or None,
            start_reader=_integer(environ, "START_READER", 1, 2**31),
            api_keys=_hashes(environ, "API_KEYS_SHA256"),
            result_sink=_result_sink(environ),
            cors_allow_origins=_origins(environ),
            app_routers=tuple(
                name.strip() for name in environ.get("APP_ROUTERS", "").split(",") if name.strip()
            ),
            refuses_unknown_fields=_is_second(environ, "UNKNOWN_FIELDS", "ignore", "refuse"),
            strips_nul=_is_second(environ, "NUL_CHARACTERS", "refuse", "strip"),
            docs_public=_is_second(environ, "DOCS_PUBLIC", "false", "true"),
            log_level=_log_level(environ),
            metrics_namespace=environ.get("METRICS_NAMESPACE", DEFAULT_METRICS_NAMESPACE) or None,
            function_name=environ.get("AWS_LAMBDA_FUNCTION_NAME") or None,
        )

    @property
    def eager(self) -> bool:
        """Returns whether init happens ahead of traffic, so that its length is free."""
        return self.initialization_type in {PROVISIONED, SNAP_START, MANAGED}

    def inference_threads(self, cpus: int) -> int:
        """Returns the threads of one inference: as configured, else the vCPUs that the memory size gives.

        Explicit, because onnxruntime's own choice pins threads to cores that Lambda may not grant. Processes
        that serve beside each other, on Managed Instances, share the CPUs: memory says nothing of them there.
        """
        if self.threads is not None:
            return self.threads
        if self.memory_mb is None or self.processes > 1:
            return max(1, cpus // self.processes)
        return max(1, min(cpus, -(-self.memory_mb // MEGABYTES_PER_VCPU)))


def _choices(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> frozenset[str] | None:
    value = environ.get(name)
    if value is None:
        return None
    chosen = frozenset(part.strip() for part in value.split(",") if part.strip())
    if not chosen <= set(allowed):
        raise ConfigurationError(f"{name} must be a comma-separated list of {', '.join(allowed)}", param=name)
    return chosen


def _integer(environ: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    value = environ.get(name)
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise ConfigurationError(f"{name} must be a whole number from {low} to {high}", param=name)
    return int(value)


def _hashes(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    value = environ.get(name)
    if not value:
        return ()
    hashes = tuple(part.strip() for part in value.split(","))
    # A key put here by mistake, or half a list, must not leave a function open or its owner locked out.
    if not all(len(part) == 64 and set(part) <= set("0123456789abcdef") for part in hashes):
        raise ConfigurationError(
            f"{name} must be a comma-separated list of SHA-256 hashes, each of 64 lower-case hex digits",
            param=name,
        )
    if not HASHES_OF_NOTHING.isdisjoint(hashes):
        raise ConfigurationError(
            f"{name} holds the hash of an empty key, as of a shell variable that is not set: hash the key "
            "again",
            param=name,
        )
    return hashes


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    value = environ.get("CORS_ALLOW_ORIGINS", "")
    origins = tuple(part.strip() for part in value.split(",") if part.strip())
    if origins:
        from lambda_app.origins import is_origin

        if not all(origin == "*" or is_origin(origin) for origin in origins):
            raise ConfigurationError(
                "CORS_ALLOW_ORIGINS must be * or a comma-separated list of origins as browsers send them, "
                "as in https://example.com: in lower case, without a wildcard, a path, a slash at the end "
                "or the scheme's own port",
                param="CORS_ALLOW_ORIGINS",
            )
    return origins


def _result_sink(environ: Mapping[str, str]) -> str | None:
    value = environ.get("RESULT_SINK")
    if not value:
        return None
    if value == DISCARD:
        return value
    if value.startswith(READY_SINKS):
        return _ready_sink(value)
    module, colon, function = value.partition(":")
    if not (colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ConfigurationError(
            "RESULT_SINK must be module:function, such as my_package.results:store, s3://bucket/prefix, "
            f"s3vectors://bucket/index or {DISCARD}",
            param="RESULT_SINK",
        )
    return value


def _ready_sink(value: str) -> str:
    scheme, _, rest = value.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or (scheme == "s3vectors" and (not key or "/" in key)):
        message = "RESULT_SINK must be s3://bucket/prefix or s3vectors://bucket/index"
        raise ConfigurationError(message, param="RESULT_SINK")
    return value.rstrip("/")


def _bundle_url(environ: Mapping[str, str]) -> str | None:
    value = environ.get("MODEL_BUNDLE_URL", "").rstrip("/")
    if not value:
        return None
    scheme, separator, rest = value.partition("://")
    bucket = rest.partition("/")[0]
    absolute = rest.startswith("/")
    if not separator or not ((scheme == "s3" and bucket) or (scheme == "file" and absolute)):
        raise ConfigurationError(
            "MODEL_BUNDLE_URL must be s3://bucket/prefix or file:///directory", param="MODEL_BUNDLE_URL"
        )
    return value


def _base_path(environ: Mapping[str, str]) -> str:
    value = environ.get("API_BASE_PATH", "").rstrip("/")
    if value and not value.startswith("/"):
        raise ConfigurationError("API_BASE_PATH must begin with a slash", param="API_BASE_PATH")
    return value


def _is_second(environ: Mapping[str, str], name: str, first: str, second: str) -> bool:
    """Whether a variable has the second of two values; the first is its default."""
    value = (environ.get(name) or first).lower()
    if value not in {first, second}:
        raise ConfigurationError(f"{name} must be {first} or {second}", param=name)
    return value == second


def _log_level(environ: Mapping[str, str]) -> int:
    name = (environ.get("LOG_LEVEL") or environ.get("AWS_LAMBDA_LOG_LEVEL") or "INFO").upper()
    # Lambda's own names for its log levels, beside Python's.
    name = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "ERROR", "CRITICAL": "ERROR"}.get(name, name)
    if name not in LOG_LEVELS:
        raise ConfigurationError(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}", param="LOG_LEVEL")
    return LOG_LEVELS[name]
