"""Hypothesis for minutes: compiled tokenizers beside the library, and the handler with any event.

``FUZZ_SECONDS`` (600) is the time in all; every day's run takes a fiftieth of it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from builder.tokenizer.fuzz_corpus import fuzz_texts
from lambda_app.api.events.direct import EmbedEvent, RerankEvent
from lambda_app.errors import UnservedEventError
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Tokenizer
from tests.support.fakes import Context, fake_dispatcher, http_v2
from tests.support.json_values import JSON_VALUES
from tests.support.provider_bodies import BODIES, PATHS
from tests.support.tokenizers_factory import SPECIFICATIONS, build, original, spells_control

SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
EVERY_DAY = 50
EXAMPLES = 500
CORPUS = [text for text in fuzz_texts(400, 3) if text and "\0" not in text]
# Texts as they come, and odd ones put together: scripts, combining marks, controls, very long words.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
MIXED = st.lists(st.sampled_from(CORPUS) | ANY_TEXT | st.text("ab #", max_size=150), max_size=6).map("".join)
TEXTS = (ANY_TEXT | MIXED).filter(lambda text: not spells_control(text))

budget = pytest.mark.parametrize(
    "seconds", [SECONDS / EVERY_DAY, pytest.param(SECONDS, marks=pytest.mark.soak)], ids=["short", "long"]
)


def run_for(seconds: float, strategy: Any, check: Callable[[Any], None]) -> int:
    """Runs ``check`` on examples of ``strategy`` until the time is over, each round with another seed; tells
    how many there were. A failure is shrunk and shown as usual."""
    until = time.monotonic() + seconds
    number = count = 0

    def counted(example: Any) -> None:
        nonlocal count
        count += 1
        check(example)

    while time.monotonic() < until:
        number += 1
        quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
        rounds = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=quiet,
        )
        run: Any = given(strategy)(counted)  # type: ignore[no-untyped-call]
        run = seed(number)(run)
        rounds(run)()
    return count


@pytest.mark.parametrize("kind", ["wordpiece", "cased", "classic", "converted", "collapsed"])
@budget
def test_compiled_tokenizers_give_the_librarys_ids(kind: str, seconds: float, tmp_path: Path) -> None:
    _, model, source = build(SPECIFICATIONS[kind](), tmp_path)
    tokenizer: Tokenizer = load_tokenizer(model)
    library = original(source)

    def check(text: str) -> None:
        assert tokenizer.encode(text, 1_000_000) == library.encode(text).ids

    # Half of the time is for tokenizers, half for events.
    print(f"\n{kind}: {run_for(seconds / 10, TEXTS, check)} texts")


METHODS = st.sampled_from(["GET", "POST", "OPTIONS", "DELETE", "HEAD", "PUT"])
GATEWAY = st.fixed_dictionaries(
    {"requestContext": st.fixed_dictionaries({}, optional={"elb": JSON_VALUES, "stage": JSON_VALUES})},
    optional={
        "version": st.sampled_from(["2.0", "1.0"]) | JSON_VALUES,
        "httpMethod": METHODS | JSON_VALUES,
        "path": st.sampled_from(["/health", *PATHS]) | JSON_VALUES,
        "headers": JSON_VALUES,
        "multiValueHeaders": JSON_VALUES,
        "queryStringParameters": JSON_VALUES,
        "rawQueryString": JSON_VALUES,
        "cookies": JSON_VALUES,
        "body": JSON_VALUES,
        "isBase64Encoded": st.booleans(),
        "resource": JSON_VALUES,
    },
)
HTTP = st.builds(
    lambda path, body, method: http_v2(path, json.dumps(body), method=method),
    st.sampled_from([*PATHS, "/health", "/info", "/v1/models"]) | st.text(max_size=20).map("/".__add__),
    BODIES | JSON_VALUES,
    METHODS,
)
DIRECT = st.fixed_dictionaries(
    {"action": st.sampled_from(["embed", "rerank", "info", "ping"]) | JSON_VALUES},
    optional={
        name: st.just("a") | st.lists(st.text(max_size=3), max_size=3) | JSON_VALUES
        for name in sorted({*EmbedEvent.fields, *RerankEvent.fields, "id"} - {"action"})
    },
)
MESSAGE = st.fixed_dictionaries(
    {"eventSource": st.just("aws:sqs")},
    optional={"body": DIRECT.map(json.dumps) | JSON_VALUES, "messageId": JSON_VALUES},
)
BATCH = (
    st.fixed_dictionaries(
        {"Items": st.lists(DIRECT | JSON_VALUES, max_size=4)}, optional={"BatchInput": DIRECT}
    )
    | st.lists(DIRECT | MESSAGE, max_size=4)
    | st.fixed_dictionaries({"Records": st.lists(MESSAGE, max_size=4) | JSON_VALUES})
)
LATTICE = st.fixed_dictionaries(
    {"method": METHODS, "raw_path": st.sampled_from(["/health", *PATHS]) | JSON_VALUES},
    optional={
        **dict.fromkeys(("headers", "query_string_parameters", "body", "is_base64_encoded"), JSON_VALUES),
        **dict.fromkeys(("path", "queryStringParameters", "requestContext", "isBase64Encoded"), JSON_VALUES),
        "version": st.just("2.0") | JSON_VALUES,
    },
)
EVENTS = JSON_VALUES | GATEWAY | LATTICE | HTTP | DIRECT | BATCH


@budget
def test_any_event_gets_an_answer_that_may_leave(seconds: float) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})

    def check(event: Any) -> None:
        try:
            answer = dispatcher(event, Context())
        except UnservedEventError:
            return
        # As Lambda's runtime client writes it, and strictly.
        json.dumps(answer, allow_nan=False, ensure_ascii=False).encode("utf-8")
        if isinstance(answer, dict) and "statusCode" in answer:
            assert answer["statusCode"] < 500
        else:
            assert isinstance(answer, dict | list)

    print(f"\n{run_for(seconds / 2, EVENTS, check)} events")
