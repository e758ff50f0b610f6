"""A bundle that other library versions built: a warning in the log, and in /info."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import tokenizers

from lambda_app.bundle import Bundle
from lambda_app.bundle.versions import (
    VersionDifference,
    installed_versions,
    loaded_versions,
    version_differences,
)
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.start import start
from tests.support.fakes import Context, fake_dispatcher
from tests.support.manifests import rewrite_manifest

RUNNING = {"onnxruntime": "1.2.3", "tokenizers": "0.5.0"}


@pytest.mark.parametrize(
    ("tools", "different"),
    [
        (RUNNING, []),
        ({**RUNNING, "torch": "9"}, []),
        ({"onnxruntime": "1.2.4", "tokenizers": "0.5.0"}, [("onnxruntime", "1.2.4", "1.2.3")]),
        ({"tokenizers": "0.6"}, [("tokenizers", "0.6", "0.5.0")]),
        ({}, []),
    ],
)
def test_differences_are_of_what_computes_answers(tools: dict[str, str], different: list[Any]) -> None:
    assert version_differences({"tools": tools}, RUNNING) == [VersionDifference(*one) for one in different]
    assert version_differences({}, RUNNING) == []


def test_versions_are_those_of_the_imported_and_the_installed_libraries() -> None:
    both = {"onnxruntime": onnxruntime.__version__, "tokenizers": tokenizers.__version__}
    assert loaded_versions() == both
    assert installed_versions() == both


def test_a_library_that_is_not_imported_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tokenizers")
    assert "tokenizers" not in loaded_versions()
    assert installed_versions()["tokenizers"] == tokenizers.__version__


@pytest.mark.parametrize("built_with", ["0.0.1", onnxruntime.__version__])
def test_the_start_warns_with_a_code(
    built_with: str, tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = {**tiny_bundle.build["tools"], "onnxruntime": built_with}
    directory = rewrite_manifest(tiny_bundle.directory, tmp_path, build={**tiny_bundle.build, "tools": tools})
    start({"MODEL_DIR": str(directory), "PRELOAD": "embedding"}, PhaseClock())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    warned = [line for line in lines if line.get("code") == "runtime_version_differs"]
    if built_with == onnxruntime.__version__:
        assert warned == []
    else:
        assert [(line["level"], line["library"], line["built_with"]) for line in warned] == [
            ("WARNING", "onnxruntime", "0.0.1")
        ]
        assert "rebuild the bundle" in warned[0]["message"]


def test_info_shows_the_warning() -> None:
    dispatcher = fake_dispatcher()
    assert dispatcher({"action": "info"}, Context())["warnings"] == []
    registry: Any = dispatcher._service.registry
    registry.bundle = registry.bundle._replace(build={"tools": {"tokenizers": "0.0.1"}})
    (warning,) = dispatcher({"action": "info"}, Context())["warnings"]
    assert warning["code"] == "runtime_version_differs"
    assert "tokenizers 0.0.1" in warning["message"]
