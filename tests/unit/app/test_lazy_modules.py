"""Lazy modules: nothing is imported for them, and nothing is missing when it is needed."""

# No postponed annotations here: that they are evaluated is what is tested.

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest

from lambda_app.coldstart.lazy_modules import UNUSED_BY_A_START, lazy_modules

ROOT = Path(__file__).resolve().parents[3]
SOURCE = """
import enum
class Thing:
    kind, name, module = "real", "the real thing", 7
    def __init__(self, value=0): self.value = value
    def __class_getitem__(cls, item): return (cls, item)
class Color(enum.Enum):
    RED = 1
"""


@pytest.fixture
def unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module that is there and not imported."""
    (tmp_path / "put_off.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "put_off"
    sys.modules.pop("put_off", None)


def loaded(name: str) -> bool:
    return hasattr(sys.modules.get(name), "__file__")


def test_annotations_import_nothing(unloaded: str) -> None:
    with lazy_modules(unloaded):
        from put_off import Thing  # type: ignore[import-not-found]

    @dataclass(frozen=True)
    class Holder:
        thing: Thing | None
        other: Optional[Thing]  # noqa: UP045 (another way into typing)
        marked: Annotated[Thing, "a note"] = None

    def use(thing: int | Thing, more: Thing | None = None) -> Thing | int:
        return thing

    assert Holder(None, None).thing is use.__defaults__[0]  # type: ignore[index]
    assert not loaded(unloaded)
    assert unloaded not in sys.modules


def test_what_is_asked_of_them_the_real_ones_answer(unloaded: str) -> None:
    with lazy_modules(unloaded):
        from put_off import Color, Thing
    thing = Thing(value=3)
    import put_off

    assert type(thing) is put_off.Thing
    assert thing.value == 3
    assert (Thing.kind, Thing.name, Thing.module) == ("real", "the real thing", 7)
    assert Thing[int] == (put_off.Thing, int)
    assert Color.RED is put_off.Color.RED
    assert isinstance(thing, Thing)
    assert not isinstance(3, Thing)

    class Special(Thing):  # type: ignore[misc]
        pass

    assert issubclass(Special, put_off.Thing)
    assert issubclass(Special, Thing)
    with pytest.raises(AttributeError):
        _ = Thing.nothing
    with lazy_modules(unloaded):
        from put_off import Thing as Again
    assert Again is put_off.Thing


def test_a_need_inside_imports_the_real_one_at_once(unloaded: str) -> None:
    with lazy_modules(unloaded):
        from put_off import Thing

        assert Thing().value == 0
        assert loaded(unloaded)
    assert loaded(unloaded)


def test_what_is_not_there_is_said_when_it_is_needed(unloaded: str) -> None:
    with lazy_modules(unloaded, "no_such_module"):
        from no_such_module import thing  # type: ignore[import-not-found]
        from put_off import Missing
    with pytest.raises(AttributeError, match="Missing"):
        Missing()
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        thing()


LAZY = list(UNUSED_BY_A_START)


@pytest.mark.parametrize("name", LAZY)
def test_every_lazy_module_is_there(name: str) -> None:
    """A library that renamed it would import the new one at every start, and no other test would notice."""
    assert importlib.util.find_spec(name) is not None


# What of each lazy module the first import takes, read from the sources of what is imported.
USED = """
import json, sys
import lambda_app.coldstart.lazy_modules as lazy
taken = {}
original = lazy.LazyModule.__getattr__
def take(module, name):
    found = original(module, name)
    taken.setdefault(module.__name__, []).append(name)
    return found
lazy.LazyModule.__getattr__ = take
import lambda_app.api.http.app
from importlib import import_module
print(json.dumps({
    "taken": sorted(taken),
    "missing": [f"{m}.{n}" for m, names in taken.items() for n in names if not hasattr(import_module(m), n)],
}))
"""


def test_every_lazy_module_is_still_imported_and_has_what_is_taken() -> None:
    assert LAZY
    # Before Python 3.12 its own SHA-256 is reached through hashlib, which is then there already.
    imported = {"hashlib"} if sys.version_info < (3, 12) else set()
    assert run(USED) == {"taken": sorted(set(LAZY) - imported), "missing": []}


def run(script: str) -> Any:
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


PUT_OFF = """
import json, sys
import lambda_app.api.http.app
names = ("fastapi.openapi.models", "fastapi.security", "opentelemetry.metrics", "opentelemetry._logs")
print(json.dumps([name for name in names if name in sys.modules]))
"""


def test_the_web_layer_starts_without_what_it_does_not_use() -> None:
    assert run(PUT_OFF) == []


# FastAPI as anyone would use it, in a process whose FastAPI was imported with lazy modules.
WHOLE = """
import json
import lambda_app.api.http.app
from typing import Annotated
from fastapi import Depends, FastAPI, Security
from fastapi.security import APIKeyHeader, HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from mangum import Mangum
from pydantic import BaseModel
from tests.support.fakes import Context, http_v2

class Body(BaseModel):
    text: str

def allowed(scopes: SecurityScopes, token: Annotated[str, Depends(OAuth2PasswordBearer("token"))]) -> str:
    return f"{token} {scopes.scopes}"

app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False})

@app.post("/echo")
def echo(body: Body, token: Annotated[str, Security(allowed, scopes=["read"])]) -> dict[str, str]:
    return {"text": body.text, "token": token}

@app.post("/key")
def key(value: Annotated[str, Depends(APIKeyHeader(name="x-key"))]) -> str:
    return value

handler = Mangum(app, lifespan="off")
def ask(path, body=None, **headers):
    event = http_v2(path, body)
    event["headers"].update({name.replace("_", "-"): value for name, value in headers.items()})
    answer = handler(event, Context())
    return [answer["statusCode"], json.loads(answer["body"])]

document = ask("/openapi.json")[1]
print(json.dumps({
    "echo": ask("/echo", {"text": "a"}, authorization="Bearer abc"),
    "refused": ask("/echo", {"text": "a"})[0],
    "invalid": ask("/echo", {"text": 3}, authorization="Bearer abc")[0],
    "key": ask("/key", {}, x_key="k"),
    "schemes": sorted(document["components"]["securitySchemes"]),
    "paths": sorted(document["paths"]),
}))
"""


def test_fastapi_is_whole_all_the_same() -> None:
    assert run(WHOLE) == {
        "echo": [200, {"text": "a", "token": "abc ['read']"}],
        "refused": 401,
        "invalid": 422,
        "key": [200, "k"],
        "schemes": ["APIKeyHeader", "OAuth2PasswordBearer"],
        "paths": ["/echo", "/key"],
    }
