"""What the pack holds of texts that the standard library compiles: used where it is there, only there."""

from __future__ import annotations

import builtins
import json
import marshal
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lambda_app.coldstart import compiled_strings, import_pack
from scripts.image import record_strings
from scripts.image.pack_imports import ENTRY_POINTS

ROOT = Path(__file__).resolve().parents[3]


def module(name: str, **attributes: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(attributes)
    return made


def patched(name: str, content: bytes, **attributes: Any) -> Any:
    made = module(name, **attributes)
    compiled_strings.patches(content)[name](made)
    return made


@pytest.mark.parametrize(("name", "function"), compiled_strings.COMPILING.items())
def test_a_text_runs_as_what_the_pack_has_for_it(name: str, function: str) -> None:
    marked = compile("value.append('from the pack')", "<string>", function)
    run = getattr(patched(name, compiled_strings.dump({"a text": marked}, {})), function)
    value: list[str] = []
    run("a text", {"value": value})
    # Not in the pack: as a text, and as the code object that both functions take too.
    run("value.append('compiled')", {"value": value})
    run(compile("value.append('code')", "<string>", function), {"value": value})
    assert value == ["from the pack", "compiled", "code"]
    with pytest.raises(SyntaxError):
        run("not a text", {})


def test_a_regular_expression_is_made_of_what_the_pack_has_for_it() -> None:
    real = compiled_strings_of("a+")
    compiler = patched(
        compiled_strings.EXPRESSIONS,
        compiled_strings.dump({}, {("never parsed (", 32): real}),
        compile=re._compiler.compile,  # type: ignore[attr-defined]
    )
    assert compiler.compile("never parsed (", re.UNICODE).fullmatch("aaa")
    assert compiler.compile("b+", 0).fullmatch("bb")
    for pattern in (b"never parsed (", "never parsed ("):
        with pytest.raises(re.error):
            compiler.compile(pattern, 0)


def compiled_strings_of(pattern: str) -> tuple[Any, ...]:
    """What ``_sre.compile`` takes for a pattern."""
    compiler = re._compiler  # type: ignore[attr-defined]
    taken: list[Any] = []
    fake = SimpleNamespace(**vars(compiler._sre))
    fake.compile = lambda *arguments: taken.append(arguments)
    real, compiler._sre = compiler._sre, fake
    try:
        compiler.compile(pattern, 0)
    finally:
        compiler._sre = real
    text, flags, code, *others = taken[0]
    return text, int(flags), list(map(int, code)), *others


@pytest.fixture(scope="module")
def strings() -> bytes:
    return record_strings.recorded(ROOT, sysconfig.get_path("purelib"), ENTRY_POINTS)


def test_recorded_expressions_are_those_that_the_interpreter_makes(strings: bytes) -> None:
    import _sre  # type: ignore[import-not-found]

    texts, patterns = marshal.loads(strings)
    assert len(patterns) > 20
    assert {(key, _sre.compile(*parsed)) for key, parsed in patterns.items()} == {
        ((text, flags), re.compile(text, flags)) for text, flags in patterns
    }
    assert len(texts) > 100
    for text, code in texts.items():
        kind = "exec" if text.lstrip().startswith("def ") else "eval"
        assert marshal.loads(code) == compile(text, "<string>", kind, dont_inherit=True)


# As the image starts. Counts the texts that are looked up, and names those that are not there.
START = """
import sys
sys.path[:0] = [{root!r}]
sys.path.append({packages!r})
from lambda_app.coldstart import compiled_strings, import_pack
found, missing = [], []
class Looked(dict):
    def get(self, key):
        (found if key in self else missing).append(str(key))
        return super().get(key)
original = compiled_strings.marshal.loads
def loads(content):
    value = original(content)
    return tuple(map(Looked, value)) if type(value) is tuple else value
import types
compiled_strings.marshal = types.SimpleNamespace(loads=loads)
assert import_pack.install({pack!r}) is None
import lambda_app.api.http.app, mangum, lambda_app.start
import dataclasses, collections, re, json
@dataclasses.dataclass(frozen=True)
class Own:
    never_recorded: int = 3
assert Own(4) == Own(4) and hash(Own(4)) == hash(Own(4)) and repr(Own()) == "Own(never_recorded=3)"
assert collections.namedtuple("Point", "never_recorded other")(1, 2) == (1, 2)
assert re.fullmatch("(?P<never>recorded)", "recorded")["never"] == "recorded"
print(json.dumps([len(found), missing]))
"""


def test_a_start_compiles_nothing_that_the_pack_could_have_held(tmp_path: Path) -> None:
    pack = tmp_path / "imports.pack"
    script = ROOT / "scripts" / "image" / "pack_imports.py"
    subprocess.run([sys.executable, str(script), str(pack)], check=True, capture_output=True)
    start = START.format(root=str(ROOT), packages=sysconfig.get_path("purelib"), pack=str(pack))
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", start], capture_output=True, text=True, check=True
    )
    found, missing = json.loads(result.stdout)
    assert found > 150
    assert missing
    assert [text for text in missing if "never" not in text] == []


def test_content_that_is_none_leaves_imports_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "imports.pack"
    finders = list(sys.meta_path)
    for content in (b"", b"x", marshal.dumps(3), marshal.dumps(({}, {}, {}))):
        import_pack.write(str(path), {}, content)
        assert "cannot be read" in str(import_pack.install(str(path)))
        assert sys.meta_path == finders
    assert builtins.exec is exec


def test_a_module_that_compiles_nothing_any_more_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_strings, "COMPILING", {"collections": "eval", "string": "exec"})
    with pytest.raises(record_strings.RecordError, match="string compiled nothing"):
        record_strings.recorded(ROOT, sysconfig.get_path("purelib"), ("mangum.types",))
