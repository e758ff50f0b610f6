"""The composition root: builds the function from the environment."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lambda_app.bundle import MANIFEST
from lambda_app.bundle.versions import RUNTIME_VERSION_DIFFERS, loaded_versions, version_differences
from lambda_app.coldstart import start_list
from lambda_app.coldstart.logs import JsonLog
from lambda_app.cpu import cpu_features, is_checked
from lambda_app.dispatch import Dispatcher
from lambda_app.errors import LambdaAppError
from lambda_app.models.registry import ModelRegistry
from lambda_app.service.service import Service
from lambda_app.settings import LOG_LEVELS, SNAP_START, Settings

if TYPE_CHECKING:
    from lambda_app.coldstart.clock import PhaseClock


def start(environ: Mapping[str, str], clock: PhaseClock) -> Dispatcher:
    """Builds the handler, with the models and APIs that the environment asks to open in init.

    Raises:
        ConfigurationError: a variable has a value that cannot be used.
        BundleError: the bundle is missing, invalid or incomplete, or could not be fetched.
    """
    try:
        return _start(environ, clock)
    except LambdaAppError as error:
        # awslambdaric reports the class and the message of an exception, and not its code.
        JsonLog(LOG_LEVELS["ERROR"]).error(
            "init_failed", code=error.code, message=error.message, param=error.param
        )
        raise


def _start(environ: Mapping[str, str], clock: PhaseClock) -> Dispatcher:
    # Imports allocate hundreds of thousands of objects that live as long as the process. Collecting garbage
    # among them takes a sixth of the imports' time.
    gc.disable()
    try:
        settings = Settings.from_env(environ)
        log = JsonLog(settings.log_level, {"process": os.getpid()} if settings.processes > 1 else None)
        if settings.import_pack is not None:
            _install_import_pack(settings.import_pack, log)
        if settings.bundle_url is not None:
            settings = _with_fetched_bundle(settings, settings.bundle_url, clock, log)
        registry = ModelRegistry(settings, clock)
        dispatcher = Dispatcher(Service(registry), settings, log, clock)
        # First the web layer, which computes most: what the models are read from arrives meanwhile.
        if "http" in settings.preload:
            dispatcher.open_http()
        registry.preload()
    finally:
        gc.enable()
    gc.freeze()
    if settings.initialization_type == SNAP_START:
        from lambda_app.coldstart.snapshot import register_hooks

        register_hooks(clock, log)
    _check_start_list(settings, registry, log)
    _compare_cpu(registry, log)
    _compare_versions(registry, log)
    clock.finish()
    _log_cold_start(settings, clock, log)
    return dispatcher


def _check_start_list(settings: Settings, registry: ModelRegistry, log: JsonLog) -> None:
    """Warns of a list of what a start reads that is missing, or was recorded with other models."""
    if settings.start_list is None:
        return
    found = start_list.problem(settings.start_list, [model.fingerprint for model in registry.bundle.models()])
    if found is not None:
        log.warning(
            "start_list_ignored", code="start_list_ignored", reason=f"START_LIST {found}: rebuild the image"
        )


def _compare_cpu(registry: ModelRegistry, log: JsonLog) -> None:
    """Warns of models that were not checked with the integer kernels of this CPU: results may differ."""
    features = cpu_features()
    unchecked = {
        model.task: model.quantization.instruction_sets
        for model in registry.bundle.models()
        if not is_checked(model.quantization.instruction_sets, features)
    }
    if unchecked:
        log.warning(
            "cpu_not_checked",
            cpu_features=features,
            instruction_sets=unchecked,
            reason="the bundle was not checked on such a CPU: run where it was, or rebuild it with another "
            "quantization",
        )


def _compare_versions(registry: ModelRegistry, log: JsonLog) -> None:
    """Warns of a bundle that other versions of the libraries built than those that run it."""
    for difference in version_differences(registry.bundle.build, loaded_versions()):
        log.warning(
            RUNTIME_VERSION_DIFFERS,
            code=RUNTIME_VERSION_DIFFERS,
            message=difference.message,
            **difference._asdict(),
        )


def _log_cold_start(settings: Settings, clock: PhaseClock, log: JsonLog) -> None:
    """Logs one line, which CloudWatch reads as a metric too where the function has a name."""
    phases = clock.milliseconds()
    fields = {"phases_ms": phases, "initialization_type": settings.initialization_type}
    if settings.metrics_namespace is None or settings.function_name is None:
        log.info("cold_start", **fields)
        return
    log.metric(
        "cold_start",
        settings.metrics_namespace,
        ("ColdStartDuration", "Milliseconds", phases["total"]),
        {"FunctionName": settings.function_name, "InitializationType": settings.initialization_type},
        **fields,
    )


def _with_fetched_bundle(settings: Settings, url: str, clock: PhaseClock, log: JsonLog) -> Settings:
    """Returns the settings, with the directory of a fetched bundle where MODEL_DIR has none."""
    if (settings.model_dir / MANIFEST).exists():
        return settings
    from lambda_app.bundle.fetch import fetch_bundle

    with clock.phase("fetch"):
        return settings._replace(model_dir=fetch_bundle(url, settings.temporary, log))


def _install_import_pack(path: str, log: JsonLog) -> None:
    from lambda_app.coldstart import import_pack

    problem = import_pack.install(path)
    if problem is not None:
        log.warning("import_pack_ignored", reason=f"IMPORT_PACK {problem}: rebuild the image")
