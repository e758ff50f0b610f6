"""Who may import what, read from the source with ``ast``: the rules of docs/ARCHITECTURE.md."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lambda_app", "model_build")

# From the top down. A module imports modules of lower ranks only: those of one rank do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("lambda_app.handler",),
    ("lambda_app.start",),
    ("lambda_app.dispatch",),
    ("lambda_app.api.http", "lambda_app.api.keys", "lambda_app.api.queue"),
    ("lambda_app.api.batch", "lambda_app.api.sizes"),
    (
        *("lambda_app.api.direct", "lambda_app.api.gateway", "lambda_app.api.failures"),
        *("lambda_app.api.openai", "lambda_app.api.cohere", "lambda_app.api.tei"),
        "lambda_app.api.pages",
    ),
    ("lambda_app.api.document",),
    ("lambda_app.api.schemas.cohere", "lambda_app.api.schemas.tei"),
    ("lambda_app.api.schemas.openai",),
    ("lambda_app.api.schemas.common", "lambda_app.api.schemas"),
    ("lambda_app.api.info", "lambda_app.api.jina", "lambda_app.api.voyage"),
    ("lambda_app.api.roles", "lambda_app.api.vectors"),
    ("lambda_app.api.fields", "lambda_app.api"),
    ("lambda_app.service",),
    ("lambda_app.runtime",),
    ("lambda_app.models.embedder", "lambda_app.models.reranker"),
    ("lambda_app.models.inference",),
    ("lambda_app.models.batching", "lambda_app.models.session", "lambda_app.models.tokenization"),
    ("lambda_app.models.token_texts",),
    ("lambda_app.models.library", "lambda_app.models.unigram", "lambda_app.models.wordpiece"),
    ("lambda_app.models.pieces", "lambda_app.models.words", "lambda_app.models.special_tokens"),
    ("lambda_app.models",),
    ("lambda_app.invocation", "lambda_app.snapshot", "lambda_app.fetch"),
    ("lambda_app.fetch_file", "lambda_app.fetch_s3"),
    ("lambda_app.logs", "lambda_app.coldstart", "lambda_app.import_pack", "lambda_app.stand_ins"),
    ("lambda_app.bundle", "lambda_app.settings", "lambda_app.limits", "lambda_app.cpu"),
    ("lambda_app.errors", "lambda_app"),
)

# What is not the standard library, and the modules that may know of it.
OWNERS = {
    "mangum": {"lambda_app.dispatch"},
    "fastapi": {"lambda_app.api.http", "lambda_app.api.pages"},
    "starlette": {"lambda_app.api.http"},
    "pydantic": {
        *("lambda_app.api.document", "lambda_app.api.schemas.common"),
        *(f"lambda_app.api.schemas.{family}" for family in ("openai", "cohere", "tei")),
    },
    "onnxruntime": {"lambda_app.models.session"},
    "tokenizers": {"lambda_app.models.library"},
    "marisa_trie": {"lambda_app.models.pieces"},
    "snapshot_restore_py": {"lambda_app.snapshot"},
    "boto3": {"lambda_app.fetch_s3"},
    "botocore": {"lambda_app.fetch_s3"},
    "s3transfer": {"lambda_app.fetch_s3"},
}
# Arrays are the common tongue of the core.
NUMPY = ("lambda_app.models", "lambda_app.service", "lambda_app.api.vectors")
# Modules that the build may use, to describe a bundle and to prove it with the code that will run it.
FOR_THE_BUILD = (
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
    for path in sorted((ROOT / package).rglob("*.py")):
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


def own_imports(name: str) -> set[str]:
    """Modules of lambda_app that a module imports; a package counts only where nothing of it is named."""
    known = trees("lambda_app").keys()
    found = {target for target in imports(trees("lambda_app")[name]) if target in known}
    return {target for target in found if not any(other.startswith(target + ".") for other in found)}


def rank(name: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if name in layer)


def test_every_module_has_its_place() -> None:
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(trees("lambda_app"))


@pytest.mark.parametrize("name", sorted(trees("lambda_app")))
def test_imports_run_downwards(name: str) -> None:
    assert {target for target in own_imports(name) if rank(target) <= rank(name)} == set()


@pytest.mark.parametrize("name", sorted(trees("lambda_app")))
def test_each_library_has_one_owner(name: str) -> None:
    foreign = {target.partition(".")[0] for target in imports(trees("lambda_app")[name])}
    foreign -= {"lambda_app", "numpy"} | sys.stdlib_module_names
    assert {library for library in foreign if name not in OWNERS.get(library, ())} == set()


@pytest.mark.parametrize("name", sorted(trees("lambda_app")))
def test_only_the_core_handles_arrays(name: str) -> None:
    uses = any(target.partition(".")[0] == "numpy" for target in imports(trees("lambda_app")[name]))
    assert not uses or name.startswith(NUMPY)


def test_owned_libraries_are_declared_or_come_with_what_is() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["fetch"]]
    declared = {requirement.partition("==")[0].replace("-", "_") for requirement in requirements}
    # starlette and pydantic are FastAPI's own, the next two boto3's; the last comes with awslambdaric.
    undeclared = {"starlette", "pydantic", "botocore", "s3transfer", "snapshot_restore_py"}
    assert OWNERS.keys() - declared == undeclared


@pytest.mark.parametrize("name", sorted(trees("model_build")))
def test_the_build_uses_of_the_function_only_what_runs_a_bundle(name: str) -> None:
    used = {target for target in imports(trees("model_build")[name]) if target.startswith("lambda_app")}
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


@pytest.mark.parametrize("package", PACKAGES)
def test_no_assert_guards_anything_at_run_time(package: str) -> None:
    found = {
        name: node.lineno
        for name, tree in trees(package).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    }
    assert found == {}
