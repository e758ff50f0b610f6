"""The composition root: puts the function together from what the environment asks for."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lambda_app.cpu import cpu_features, is_checked
from lambda_app.dispatch import Dispatcher
from lambda_app.logs import JsonLog
from lambda_app.runtime import Runtime
from lambda_app.service import Service
from lambda_app.settings import SNAP_START, Settings

if TYPE_CHECKING:
    from lambda_app.coldstart import PhaseClock


def start(environ: Mapping[str, str], clock: PhaseClock) -> Dispatcher:
    """Opens what the environment asks for.

    Raises:
        ConfigurationError: a variable has a value that cannot be used.
        BundleError: the bundle is missing, foreign or incomplete.
    """
    # Imports allocate hundreds of thousands of objects that live as long as the process: a collector that
    # walks them over and over takes a sixth of the imports' time.
    gc.disable()
    try:
        settings = Settings.from_env(environ)
        log = JsonLog(settings.log_level)
        if settings.import_pack is not None:
            _install_import_pack(settings.import_pack, log)
        runtime = Runtime(settings, clock)
        dispatcher = Dispatcher(Service(runtime), settings, log, clock)
        runtime.preload(meanwhile=dispatcher.open_http if "http" in settings.preload else None)
    finally:
        gc.enable()
    gc.freeze()
    if settings.initialization_type == SNAP_START:
        from lambda_app.snapshot import register_hooks

        register_hooks(clock, log)
    _compare_cpu(runtime, log)
    clock.finish()
    log.info("cold_start", phases_ms=clock.milliseconds(), initialization_type=settings.initialization_type)
    return dispatcher


def _compare_cpu(runtime: Runtime, log: JsonLog) -> None:
    """Warns of models whose answers were not checked for the integer kernels of this CPU: they may differ."""
    features = cpu_features()
    unchecked = {
        model.role: model.quantization.instruction_sets
        for model in runtime.bundle.models()
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


def _install_import_pack(path: str, log: JsonLog) -> None:
    from lambda_app import import_pack

    problem = import_pack.install(path)
    if problem is not None:
        log.warning("import_pack_ignored", reason=f"IMPORT_PACK {problem}: rebuild the image")
