"""Writes an import pack for this interpreter: ``python scripts/image/pack_imports.py OUT``.

It imports what the function imports, and packs every module that came with it: of the standard library, of
installed packages, and the function's own. Run it where the function will run, after the last change: a pack
does not notice that a module was changed later.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

OWN = "lambda_app"
# What the function imports, as handler.py and the requests that follow do. ``http`` has to come first: it
# sets how FastAPI's models are built.
ENTRY_POINTS = (
    "lambda_app.api.http.app",
    "mangum",
    "lambda_app.start",
    "lambda_app.models.session",
    "lambda_app.models.tokenizer.load",
    "lambda_app.models.tokenizer.unigram",
    "lambda_app.models.tokenizer.wordpiece",
    "lambda_app.models.embedder",
    "lambda_app.models.reranker",
    "tokenizers",
    "orjson",
    "awslambdaric.__main__",
    "awslambdaric.lambda_literals",
    "encodings.ascii",
)
# Modules that do nothing but attach docstrings to other modules' objects: packed empty, which saves 5 ms.
DOCUMENTATION = frozenset({"numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars"})
# Modules whose TypedDict classes are for type checkers only: packed as the dict that their instances are.
TYPED_DICTS = frozenset({"pydantic_core.core_schema"})


class PackError(Exception):
    """A module is not what the pack takes it for: a dependency's new version has changed it."""


# Run as the image's program runs: without ``site``, which imports modules of its own. Prints what was
# imported beyond the interpreter's own modules, in that order, as JSON.
LISTING = """
import json, sys
sys.path[:0] = [{root!r}]
sys.path.append({packages!r})
import importlib
for name in {names!r}:
    importlib.import_module(name)
found = []
for name, module in sys.modules.items():
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name == name and str(spec.origin).endswith((".py", ".so")):
        found.append((name, spec.origin, spec.submodule_search_locations is not None))
print(json.dumps(found))
"""


def packable() -> dict[str, tuple[CodeType | None, str, bool]]:
    """Returns every module that a start imports from a file, in the order of import, with its code.

    Raises:
        PackError: as :func:`lean`, or a module that is to be rewritten was not imported.
    """
    packages = sysconfig.get_path("purelib")
    script = LISTING.format(root=str(ROOT), packages=packages, names=ENTRY_POINTS)
    command = [sys.executable, "-I", "-S", "-B", "-c", script]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    modules: dict[str, tuple[CodeType | None, str, bool]] = {
        name: (_code(name, origin) if origin.endswith(".py") else None, origin, is_package)
        for name, origin, is_package in json.loads(result.stdout)
    }
    for path in sorted((ROOT / OWN).rglob("*.py")):
        is_package = path.name == "__init__.py"
        name = ".".join((path.parent if is_package else path.with_suffix("")).relative_to(ROOT).parts)
        if name not in modules:
            modules[name] = _code(name, str(path)), str(path), is_package
    if missing := sorted((DOCUMENTATION | TYPED_DICTS) - modules.keys()):
        raise PackError(
            f"{missing[0]} is not imported any more: take it off the list in {Path(__file__).name}"
        )
    return modules


def _code(name: str, origin: str) -> CodeType:
    if name.partition(".")[0] != OWN:
        return lean(name, origin)
    # Whole: the API's description is made of its docstrings.
    code: CodeType = compile(Path(origin).read_bytes(), origin, "exec", dont_inherit=True)
    return code


def lean(name: str, origin: str) -> CodeType:
    """Returns a module's code without docstrings and without types that are for type checkers only.

    Raises:
        PackError: the module is in DOCUMENTATION or TYPED_DICTS, and holds something else too.
    """
    tree = ast.parse(Path(origin).read_bytes(), origin)
    if name in DOCUMENTATION:
        for statement in tree.body:
            if not _only_documents(statement):
                raise PackError(f"{origin}:{statement.lineno} does more than document: pack all of {name}")
        return compile("", origin, "exec")
    if name in TYPED_DICTS:
        without = _WithoutTypedDicts(origin)
        tree = without.visit(tree)
        if not without.replaced:
            raise PackError(f"{origin} has no TypedDict: take {name} off the list")
    tree = ast.fix_missing_locations(_WithoutDocstrings().visit(tree))
    code: CodeType = compile(tree, origin, "exec", dont_inherit=True)
    return code


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class _WithoutDocstrings(ast.NodeTransformer):
    """As ``python -OO`` leaves them out; assertions stay.

    A dataclass gets an empty line instead: without a docstring it would make one of its signature.
    """

    def generic_visit(self, node: Any) -> Any:
        super().generic_visit(node)
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
        if isinstance(node, ast.ClassDef) and any(
            "dataclass" in ast.unparse(one) for one in node.decorator_list
        ):
            node.body.insert(0, ast.copy_location(ast.Expr(ast.Constant("\n")), node.body[0]))
        return node


def _only_documents(statement: ast.stmt) -> bool:
    """Whether a statement does no more than attach docstrings, or prepare that."""
    if isinstance(statement, ast.For | ast.If):
        return all(map(_only_documents, [*statement.body, *statement.orelse]))
    if isinstance(statement, ast.Assign | ast.Delete):
        return all(map(_is_name, statement.targets))
    if isinstance(statement, ast.Expr):
        value = statement.value
        attaches = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and "doc" in value.func.id
        return attaches or isinstance(value, ast.Constant)
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef)


def _is_name(target: ast.expr) -> bool:
    return all(map(_is_name, target.elts)) if isinstance(target, ast.Tuple) else isinstance(target, ast.Name)


class _WithoutTypedDicts(ast.NodeTransformer):
    def __init__(self, origin: str) -> None:
        self.replaced = 0
        self._origin = origin
        self._names = {"TypedDict"}

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        if not any(isinstance(base, ast.Name) and base.id in self._names for base in node.bases):
            return node
        if not all(_declares(one) for one in node.body):
            raise PackError(f"{self._origin}:{node.lineno} {node.name} holds more than the types of its keys")
        self.replaced += 1
        self._names.add(node.name)
        name = ast.Name(node.name, ast.Store())
        return ast.copy_location(ast.Assign([name], ast.Name("dict", ast.Load())), node)


def _declares(statement: ast.stmt) -> bool:
    """Whether a statement of a class is a key's type, a docstring or ``pass``."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass)


def main(arguments: list[str]) -> int:
    """Writes the pack to the file that is the only argument."""
    if len(arguments) != 1:
        print(f"usage: {sys.argv[0]} OUT", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    from lambda_app.coldstart.import_pack import write
    from scripts.image.record_strings import RecordError, recorded

    try:
        modules = packable()
        strings = recorded(ROOT, sysconfig.get_path("purelib"), ENTRY_POINTS)
    except (PackError, RecordError) as error:
        print(error, file=sys.stderr)
        return 1
    size = write(arguments[0], modules, strings)
    print(f"{arguments[0]}: {len(modules)} modules, {size} bytes, Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
