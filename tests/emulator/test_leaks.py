"""What the function writes, greps for what it must not: texts, keys, paths of requests and of the machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lambda_app.api.routes import POSTS
from scripts.local.rie import Emulator
from scripts.paths import ROOT
from tests.support.fakes import http_v2
from tests.support.function_checks import SECRET
from tests.support.mistakes import direct_mistakes, http_mistakes

pytestmark = [pytest.mark.emulator, pytest.mark.minilm]

KEY = "key-of-a-caller-5f0c2d"
WRONG_KEY = "key-that-is-wrong-77"
HEADER = "header-of-a-caller-91"
BAD = [{"action": "embed", "texts": [SECRET, "\0"]}, {"action": "embed", "texts": [SECRET + "\ud800"]}]


def guarded(event: dict[str, Any], key: str) -> dict[str, Any]:
    headers = event["headers"] if isinstance(event.get("headers"), dict) else {}
    return {**event, "headers": {**headers, "authorization": f"Bearer {key}", "x-caller": HEADER}}


def test_logs_and_errors_hold_no_text_no_key_and_no_path(rie: Path, minilm: Path) -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    environment = {"MODEL_DIR": str(minilm), "LOG_LEVEL": "DEBUG", "API_KEYS_SHA256": digest}
    environment["RESULT_SINK"] = "discard"
    returned = []
    with Emulator(environment) as emulator:
        for key in (KEY, WRONG_KEY):
            for _, event, *_ in http_mistakes():
                returned.append(emulator.post(json.dumps(guarded(event, key)).encode()))
            for post in POSTS:
                bodies = (
                    {"input": [SECRET, 7]},
                    {"inputs": {"text": [SECRET]}},
                    {"metadata": {SECRET: SECRET}},
                )
                events = [guarded(http_v2(post.path, body), key) for body in bodies]
                returned += [emulator.post(json.dumps(event).encode()) for event in events]
            returned.append(emulator.post(json.dumps(guarded(http_v2(f"/{SECRET}"), key)).encode()))
        for _, event, _ in direct_mistakes():
            returned.append(emulator.post(json.dumps(event).encode()))
        for event in (
            BAD,
            {"BatchInput": {"action": "embed"}, "Items": [SECRET, SECRET + "\0"]},
            {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": SECRET}]},
        ):
            answer = emulator.invoke(event)
            returned.append(json.dumps(answer).encode())
        # What is served is nobody's error, and logged without its text.
        emulator.invoke({"action": "embed", "texts": [SECRET]})
        emulator.invoke(guarded(http_v2("/v1/embeddings", {"input": SECRET}), KEY))
        lines = emulator.log
        written = emulator.stdout + emulator.errors.splitlines()
    # The emulator's own lines tell how it starts the function.
    written = [line for line in written if "(rapid)" not in line]
    everything = "\n".join(written) + b"\n".join(returned).decode()
    assert len(lines) > 120
    assert {line["event"] for line in lines} == {"cold_start", "invocation", "message_failed"}
    for word in (SECRET, KEY, WRONG_KEY, HEADER, digest, str(minilm), str(ROOT), "site-packages"):
        assert word not in everything, word
    assert not [line for line in lines if line.get("outcome") == "500"]
