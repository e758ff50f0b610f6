"""The import pack: the same modules from one file, and never a reason not to start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lambda_app.coldstart import import_pack

ROOT = Path(__file__).resolve().parents[3]

PROBE = """
import json, sys
from lambda_app.coldstart import import_pack
problem = import_pack.install(sys.argv[1])
import fastapi.routing, email.message
import fastapi
from importlib import resources
spec = fastapi.routing.__spec__
print(json.dumps({
    "problem": problem,
    "loader": type(spec.loader).__name__,
    "file": fastapi.routing.__file__,
    "packages": list(fastapi.__path__),
    "typed": resources.files("fastapi").joinpath("py.typed").is_file(),
    "source": spec.loader.get_source("fastapi.routing").startswith("import"),
    "app": fastapi.FastAPI().title,
}))
"""


def probe(pack: Path) -> dict[str, object]:
    result = subprocess.run(
        [sys.executable, "-c", PROBE, str(pack)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(json.loads(result.stdout))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "imports.pack"
    script = ROOT / "scripts" / "image" / "pack_imports.py"
    result = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, check=True
    )
    assert "modules" in result.stdout
    return path


def test_modules_come_from_the_pack_and_know_their_files(pack: Path) -> None:
    found = probe(pack)
    assert found["problem"] is None
    assert found["loader"] == "PackLoader"
    assert str(found["file"]).endswith("/fastapi/routing.py")
    assert Path(str(found["file"])).is_file()
    assert found["typed"]
    assert found["source"]
    assert found["app"] == "FastAPI"


@pytest.mark.parametrize(
    "content", [None, b"", b"import-pack-2\n", b"import-pack-2\nXXXX" + b"\0" * 100, import_pack.HEADER]
)
def test_what_is_no_pack_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "imports.pack"
    if content is not None:
        path.write_bytes(content)
    found = probe(path)
    assert found["problem"] is not None
    assert found["loader"] == "SourceFileLoader"


@pytest.mark.parametrize(
    "name",
    [
        "mangum",
        "lambda_app",
        "lambda_app.handler",
        "lambda_app.models.session",
        # Imported by requests of some kinds only.
        "lambda_app.api.providers.tei",
    ],
)
def test_the_pack_has_what_a_start_imports_and_all_of_the_functions_own(pack: Path, name: str) -> None:
    finders_before = list(sys.meta_path)
    try:
        assert import_pack.install(str(pack)) is None
        finder = sys.meta_path[0]
        assert isinstance(finder, import_pack.PackFinder)
        spec = finder.find_spec(name)
        assert spec is not None
        assert isinstance(spec.loader, import_pack.PackLoader)
        assert Path(str(spec.origin)).is_file()
    finally:
        sys.meta_path[:] = finders_before


def test_the_functions_own_modules_keep_their_docstrings(pack: Path) -> None:
    finders_before = list(sys.meta_path)
    try:
        assert import_pack.install(str(pack)) is None
        finder = sys.meta_path[0]
        assert isinstance(finder, import_pack.PackFinder)
        spec = finder.find_spec("lambda_app.handler")
        assert spec is not None
        assert isinstance(spec.loader, import_pack.PackLoader)
        code = spec.loader.get_code("lambda_app.handler")
        assert code is not None
        assert "The handler that awslambdaric imports" in str(code.co_consts[0])
    finally:
        sys.meta_path[:] = finders_before


LEAN = """
import json, sys
from lambda_app.coldstart import import_pack
assert import_pack.install(sys.argv[1]) is None
import numpy, pydantic, fastapi
from pydantic_core import core_schema
class Model(pydantic.BaseModel):
    \"\"\"A model of the caller's own.\"\"\"
    count: int
print(json.dumps({
    "packed": [numpy.linalg.norm.__doc__, fastapi.FastAPI.__doc__],
    "own": Model.__doc__,
    "schema": core_schema.int_schema(gt=2) == {"type": "int", "gt": 2},
    "dict": core_schema.IntSchema is dict,
    "valid": Model(count="3").count,
    "norm": float(numpy.linalg.norm([3.0, 4.0])),
}))
"""


def test_packed_modules_carry_nothing_for_readers_and_work(pack: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LEAN, str(pack)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == {
        "packed": [None, None],
        "own": "A model of the caller's own.",
        "schema": True,
        "dict": True,
        "valid": 3,
        "norm": 5.0,
    }


def test_a_packed_function_keeps_its_assertions_and_line_numbers(tmp_path: Path) -> None:
    from scripts.image.pack_imports import lean

    path = tmp_path / "module.py"
    path.write_text(
        '"""Told."""\n\n\ndef check(value):\n    """Told."""\n    assert value\n', encoding="utf-8"
    )
    scope: dict[str, Any] = {}
    exec(lean("module", str(path)), scope)
    assert scope.get("__doc__") is scope["check"].__doc__ is None
    assert scope["check"].__code__.co_firstlineno == 4
    with pytest.raises(AssertionError) as failure:
        scope["check"](0)
    assert failure.traceback[-1].lineno == 5


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("numpy._core._add_newdocs", "import a\nx = 1\nadd_newdoc(x, 'text')\n", None),
        ("numpy._core._add_newdocs", "for x in y:\n    add_newdoc(x, 'text')\n", None),
        ("numpy._core._add_newdocs", "add_newdoc(x, 'text')\nregister(x)\n", ":2 does more"),
        ("numpy._core._add_newdocs", "for x in y:\n    register(x)\n", ":1 does more"),
        ("numpy._core._add_newdocs", "x.attribute = 1\n", ":1 does more"),
        ("numpy._core._add_newdocs", "if x:\n    y.z = 1\n", ":1 does more"),
        ("pydantic_core.core_schema", "class A(TypedDict):\n    'Text.'\n    a: int\n", None),
        ("pydantic_core.core_schema", "class A(TypedDict):\n    a: int = 3\n", "A holds more"),
        ("pydantic_core.core_schema", "class A(TypedDict):\n    def f(self): ...\n", "A holds more"),
        ("pydantic_core.core_schema", "class A:\n    a: int\n", "no TypedDict"),
    ],
)
def test_rewritten_modules_hold_nothing_else(
    name: str, source: str, expected: str | None, tmp_path: Path
) -> None:
    from scripts.image.pack_imports import PackError, lean

    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    if expected is None:
        lean(name, str(path))
        return
    with pytest.raises(PackError, match=expected):
        lean(name, str(path))


@pytest.mark.parametrize("listed", ["DOCUMENTATION", "TYPED_DICTS"])
def test_a_rewritten_module_that_is_gone_fails(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.image import pack_imports

    monkeypatch.setattr(pack_imports, "ENTRY_POINTS", ("mangum.types",))
    monkeypatch.setattr(pack_imports, "DOCUMENTATION", frozenset())
    monkeypatch.setattr(pack_imports, "TYPED_DICTS", frozenset())
    assert "mangum.types" in pack_imports.packable()
    monkeypatch.setattr(pack_imports, listed, frozenset({"gone.module"}))
    with pytest.raises(pack_imports.PackError, match=r"gone\.module is not imported"):
        pack_imports.packable()
