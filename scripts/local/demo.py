"""The demo: real texts through the function under the Runtime Interface Emulator (``make demo``)."""

from __future__ import annotations

import base64
import compileall
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scripts.local.embedded_bundle import ensure_bundle
from scripts.local.rie import Emulator, EmulatorError, can_emulate, ensure_binary
from scripts.paths import ROOT

EVENTS = (
    *("direct-ping", "direct-embed", "direct-rerank", "http-v2-embed", "http-v2-rerank", "rest-v1-embed"),
    *("function-url-embed", "alb-rerank", "step-functions-embed", "step-functions-rerank", "sqs-batch"),
    *("lattice-v1-embed", "lattice-v2-rerank", "pipes-sqs", "scheduled", "direct-info", "malformed"),
)
QUERY = "Why does my bread not rise?"
PASSAGES = (
    "Sourdough takes its flavour from lactic acid bacteria that live together with wild yeasts.",
    "If dough stays flat, the yeast is usually dead or too cold: check its date, prove it somewhere warm.",
    "Sunrise is earliest some days before the summer solstice and latest some days after the winter one.",
    "The price of bread rose by a third during the drought of 1789.",
    "A baguette is scored with a sharp blade just before it goes into the oven.",
    "Gluten is a network of proteins that forms when wheat flour is kneaded with water.",
    "Bakers of the Roman army ground their grain with portable mills.",
    "Sea levels rise because warm water takes more space and ice on land melts.",
)
BEST = 1

Invoke = Callable[[Any], Any]


class DemoError(RuntimeError):
    """Something answered other than it should."""


def main() -> int:
    """Runs the demo."""
    # Whatever ends the demo ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        bundle = ensure_bundle()
        # The image has compiled code; a clone gets it here, before the clock runs.
        compileall.compile_dir(ROOT / "lambda_app", quiet=2)
        models = ", ".join(model.id for model in bundle.models())
        with function() as (invoke, where):
            print(f"\n{models}, {where}\n")
            first = show_events(invoke)
            show_ranking(invoke)
            show_cold_start(invoke, first)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except (EmulatorError, DemoError) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def function() -> Iterator[tuple[Invoke, str]]:
    """The function, not started yet: under the emulator where that runs, else in this process."""
    if can_emulate():
        ensure_binary()
        # The demo shows what SQS gets back; nobody stores the results.
        with Emulator({"RESULT_SINK": "discard"}) as emulator:
            yield emulator.invoke, "under awslambdaric and the Lambda Runtime Interface Emulator"
    else:
        from scripts.local.in_process import LocalContext, open_handler

        # Its log would go to this terminal, between the lines of the demo.
        os.environ.setdefault("LOG_LEVEL", "ERROR")
        os.environ.setdefault("RESULT_SINK", "discard")
        handler = None

        def invoke(event: Any) -> Any:
            nonlocal handler
            handler = handler or open_handler()
            return handler(event, LocalContext())

        yield invoke, "in this process: the Lambda Runtime Interface Emulator runs on Linux only"


def show_events(invoke: Invoke) -> float:
    """Posts every file of ``events/``; returns the seconds until the first answer, a cold start."""
    first = None
    for name in EVENTS:
        event = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
        started = time.perf_counter()
        answer = invoke(event)
        seconds = time.perf_counter() - started
        first = seconds if first is None else first
        print(f"  events/{name + '.json':24} {seconds * 1000:7.1f} ms  {in_short(answer)}")
        if failed(answer) != (name == "malformed"):
            raise DemoError(f"events/{name}.json was not expected to answer that")
    return first or 0.0


def show_ranking(invoke: Invoke) -> None:
    """Ranks :data:`PASSAGES` for :data:`QUERY`."""
    started = time.perf_counter()
    answer = invoke({"action": "rerank", "query": QUERY, "documents": list(PASSAGES)})
    seconds = time.perf_counter() - started
    print(f"\n  {QUERY}  ({len(PASSAGES)} passages ranked in {seconds * 1000:.1f} ms)")
    results = answer.get("results") or []
    for result in results:
        score = result["score"]
        print(f"    {score:.3f} {'#' * round(score * 20):20}  {clip(PASSAGES[result['index']], 74)}")
    if not results or results[0]["index"] != BEST:
        raise DemoError("the passage that answers the query is not the first")


def show_cold_start(invoke: Invoke, first: float) -> None:
    """Prints where the function's cold start went, as it tells itself."""
    phases = invoke({"action": "info"})["cold_start"]["phases_ms"]
    # The process's start is known to 10 ms, the answer's time exactly.
    total = min(phases.pop("total"), first * 1000)
    print(f"\n  cold start: first answer after {first * 1000:.0f} ms, ready after {total:.0f} ms")
    for name, milliseconds in phases.items():
        print(f"    {name:16} {milliseconds:7.1f} ms  {'#' * round(milliseconds / max(total, 1) * 40)}")
    print("    (what lies between phases belongs to none, so they add up to less)")
    print("    (of a clone: an image has all imports in one file, read before Python starts)\n")


def failed(answer: Any) -> bool:
    """Whether an answer, from any event source, is an error."""
    if isinstance(answer, list):
        return not answer or all(map(failed, answer))
    if not isinstance(answer, dict) or "errorMessage" in answer or "error" in answer:
        return True
    return int(answer.get("statusCode", 200)) >= 400


def in_short(answer: Any) -> str:
    """One line about an answer."""
    if isinstance(answer, dict) and "answers" in answer:
        answer = answer["answers"]
    if isinstance(answer, list):
        return f"{len(answer)} answers, {sum(map(failed, answer))} of them errors"
    if not isinstance(answer, dict):
        return clip(repr(answer), 80)
    if "batchItemFailures" in answer:
        return f"{len(answer['batchItemFailures'])} of the messages failed"
    if "statusCode" in answer:
        body = answer.get("body", "")
        text = base64.b64decode(body).decode() if answer.get("isBase64Encoded") else body
        return f"{answer['statusCode']} {in_short(json.loads(text))}"
    if "embeddings" in answer:
        vectors = answer["embeddings"]
        return f"{len(vectors)} vectors of {answer['dimensions']}: {numbers(vectors[0])}"
    if "data" in answer and "results" not in answer:
        vectors = [entry["embedding"] for entry in answer["data"]]
        first = numbers(vectors[0])
        return f"{len(vectors)} vectors: {first}" if len(vectors) > 1 else f"1 vector: {first}"
    if "results" in answer:
        key = "score" if "score" in answer["results"][0] else "relevance_score"
        return "ranked " + ", ".join(f"[{entry['index']}] {entry[key]:.3f}" for entry in answer["results"])
    if "error" in answer:
        return f"{answer['error']['code']}: {answer['error']['message']}"
    if "models" in answer:
        models = answer["models"].items()
        return ", ".join(f"{task} {model['quantization']['scheme']}" for task, model in models)
    return clip(json.dumps(answer), 80)


def numbers(vector: list[float] | str) -> str:
    """The beginning of a vector, written as numbers or as base64."""
    if isinstance(vector, str):
        first: tuple[float, ...] = struct.unpack_from("<3f", base64.b64decode(vector))
        return ", ".join(f"{value:.4f}" for value in first) + ", ... (base64)"
    return ", ".join(f"{value:.4f}" for value in vector[:3]) + ", ..."


def clip(text: str, width: int) -> str:
    """Returns the text, shortened to ``width`` characters."""
    return text if len(text) <= width else text[: width - 3] + "..."


if __name__ == "__main__":
    sys.exit(main())
