"""Who may import what, read from the source with ``ast``: the rules of docs/ARCHITECTURE.md."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lambda_app", "builder", "build_models", "scripts", "benchmarks", "tests")

# From the top down; a name stands for all modules below it, and the longest name counts. A module imports
# modules of its own name or of lower ones, never of higher ones; no modules import each other in a circle.
LAYERS: tuple[str, ...] = (
    "tests",
    "benchmarks",
    *("benchmarks.measure", "benchmarks.harness", "benchmarks.report", "benchmarks.contenders"),
    "scripts",
    *("scripts.dev", "scripts.local", "scripts.image", "scripts.processes", "scripts.pip", "scripts.paths"),
    "build_models",
    *("builder.cli", "builder.arguments"),
    "builder.compare",
    *("builder.pipeline", "builder.summary", "builder.model"),
    *("builder.inputs", "builder.bundle", "builder.layout"),
    *("builder.quantization", "builder.parity", "builder.tokenizer", "builder.graph"),
    *("builder.checks", "builder.sources", "builder.config", "builder.quantization.thresholds"),
    *("builder.progress", "builder.memory", "builder.errors", "builder"),
    *("lambda_app.handler", "lambda_app.start", "lambda_app.dispatch"),
    *("lambda_app.api.http", "lambda_app.api.events", "lambda_app.api.response_size"),
    "lambda_app.bulk",
    *("lambda_app.api.docs", "lambda_app.api.providers", "lambda_app.api.parsing"),
    *("lambda_app.api.routes", "lambda_app.api"),
    "lambda_app.service",
    *("lambda_app.models.registry", "lambda_app.models", "lambda_app.models.tokenizer"),
    *("lambda_app.bundle", "lambda_app.invocation", "lambda_app.coldstart"),
    *("lambda_app.settings", "lambda_app.limits", "lambda_app.cpu", "lambda_app.errors"),
    "lambda_app",
)

MAX_LINES = 250

# What is not the standard library, and the modules that may know of it.
OWNERS = {
    "mangum": {"lambda_app.api.http.endpoint"},
    "fastapi": {"lambda_app.api.http.app", "lambda_app.api.http.routers", "lambda_app.api.docs.swagger"},
    "starlette": {"lambda_app.api.http.app"},
    "pydantic": {
        *("lambda_app.api.docs.openapi_document", "lambda_app.api.docs.schemas.common"),
        *(f"lambda_app.api.docs.schemas.{family}" for family in ("openai", "cohere", "tei")),
    },
    "onnxruntime": {"lambda_app.models.session"},
    "orjson": {"lambda_app.api.parsing.vectors"},
    "tokenizers": {"lambda_app.models.tokenizer.huggingface"},
    "marisa_trie": {"lambda_app.models.tokenizer.vocabulary"},
    "snapshot_restore_py": {"lambda_app.coldstart.snapshot"},
    "awslambdaric": {"lambda_app.coldstart.boot"},
    "boto3": {"lambda_app.bundle.fetch_s3", "lambda_app.bulk.aws"},
    "botocore": {"lambda_app.bundle.fetch_s3", "lambda_app.bulk.aws"},
    "s3transfer": {"lambda_app.bundle.fetch_s3"},
    "urllib3": {"lambda_app.bulk.aws"},
    "duckdb": {"lambda_app.bulk.database"},
    "fsspec": {"lambda_app.bulk.database"},
}
# Arrays are the common tongue of the core.
NUMPY = (
    *("lambda_app.models", "lambda_app.service", "lambda_app.api.parsing.vectors"),
    *(f"lambda_app.bulk.{name}" for name in ("doubles", "parquet_write", "segment", "write")),
)
# Modules that the build may use, to describe a bundle and to prove it with the code that will run it.
FOR_THE_BUILD = (
    "lambda_app.bundle.manifest",
    "lambda_app.bundle",
    "lambda_app.models",
    "lambda_app.errors",
    "lambda_app.limits",
    "lambda_app.cpu",
)


@cache
def trees(package: str) -> dict[str, ast.Module]:
    """Module name to its syntax tree."""
    found = {}
    root = ROOT / package
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of all imports of a module, nested ones too; ``from a import b`` gives ``a`` and ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def all_modules() -> dict[str, ast.Module]:
    """Every module of the project but the tests of clients, which run in an environment of their own."""
    found = {name: tree for package in PACKAGES for name, tree in trees(package).items()}
    return {name: tree for name, tree in found.items() if not name.startswith("tests.clients")}


@cache
def own_imports(name: str) -> frozenset[str]:
    """Modules of the project that a module imports; a package counts only where nothing of it is named."""
    found = {target for target in imports(all_modules()[name]) if target in all_modules()}
    return frozenset(target for target in found if not any(other.startswith(target + ".") for other in found))


def rank(name: str) -> int:
    """Place in LAYERS of the longest name that a module is in."""
    inside = [layer for layer in LAYERS if (name + ".").startswith(layer + ".")]
    return LAYERS.index(max(inside, key=len))


def test_every_layer_has_modules() -> None:
    used = {rank(name) for name in all_modules()}
    assert [layer for index, layer in enumerate(LAYERS) if index not in used] == []


@pytest.mark.parametrize("name", sorted(all_modules()))
def test_imports_run_downwards(name: str) -> None:
    assert {target for target in own_imports(name) if rank(target) < rank(name)} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    remaining = {name: set(own_imports(name)) - {name} for name in all_modules()}
    while free := {name for name, targets in remaining.items() if not targets & remaining.keys()}:
        remaining = {name: targets for name, targets in remaining.items() if name not in free}
    assert sorted(remaining) == []


def test_no_module_of_tests_is_imported_but_the_shared_support() -> None:
    """What tests share is in ``tests.support``, so that each of them can be read and moved by itself."""
    found = {
        name: sorted(targets)
        for name in all_modules()
        if (targets := {target for target in own_imports(name) if holds_tests(target)})
    }
    assert found == {}


@pytest.mark.parametrize("package", ["lambda_app", "builder", "build_models", "scripts", "benchmarks"])
def test_no_module_is_longer_than_a_reader_keeps_in_mind(package: str) -> None:
    root = ROOT / package
    files = sorted(root.rglob("*.py")) if root.is_dir() else [root.with_suffix(".py")]
    lines = {file.relative_to(ROOT): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {str(file): count for file, count in lines.items() if count > MAX_LINES} == {}


def holds_tests(name: str) -> bool:
    """Whether a module is a test or a conftest, rather than support for tests."""
    return name.startswith("tests.") and name.rpartition(".")[2].startswith(("test_", "conftest"))


@pytest.mark.parametrize("name", sorted(trees("lambda_app")))
def test_each_library_has_one_owner(name: str) -> None:
    foreign = {target.partition(".")[0] for target in imports(trees("lambda_app")[name])}
    # _sha2 is of the standard library since Python 3.12.
    foreign -= {"lambda_app", "numpy", "_sha2"} | sys.stdlib_module_names
    assert {library for library in foreign if name not in OWNERS.get(library, ())} == set()


@pytest.mark.parametrize("name", sorted(trees("lambda_app")))
def test_only_the_core_handles_arrays(name: str) -> None:
    uses = any(target.partition(".")[0] == "numpy" for target in imports(trees("lambda_app")[name]))
    assert not uses or name.startswith(NUMPY)


def test_owned_libraries_are_declared_or_come_with_what_is() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["bulk"]]
    declared = {requirement.partition("==")[0].replace("-", "_") for requirement in requirements}
    # starlette and pydantic are FastAPI's own, the next three boto3's; the last comes with awslambdaric.
    undeclared = {"starlette", "pydantic", "botocore", "s3transfer", "urllib3", "snapshot_restore_py"}
    assert OWNERS.keys() - declared == undeclared


@pytest.mark.parametrize("name", sorted(trees("builder")))
def test_the_build_uses_of_the_function_only_what_runs_a_bundle(name: str) -> None:
    used = {target for target in imports(trees("builder")[name]) if target.startswith("lambda_app")}
    assert {
        target for target in used if not (target + ".").startswith(tuple(f"{p}." for p in FOR_THE_BUILD))
    } <= {"lambda_app"}


def environment_uses(tree: ast.AST) -> Iterator[str]:
    """How a module uses ``os.environ`` and its kin: the name of the method, or ``read`` for anything else."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}:
            parent = parents[node]
            yield parent.attr if isinstance(parent, ast.Attribute) else "read"


@pytest.mark.parametrize("name", sorted(trees("lambda_app")))
def test_only_settings_read_the_environment(name: str) -> None:
    uses = set(environment_uses(trees("lambda_app")[name]))
    if name == "lambda_app.handler":
        assert uses == {"read"}  # hands it to Settings.from_env
    else:
        # A library's own switches have to be set before it is imported.
        assert uses <= {"setdefault"}


@pytest.mark.parametrize("package", ["lambda_app", "builder"])
def test_no_assert_guards_anything_at_run_time(package: str) -> None:
    found = {
        name: node.lineno
        for name, tree in trees(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    }
    assert found == {}
