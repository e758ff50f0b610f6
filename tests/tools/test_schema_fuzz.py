"""schemathesis: whatever the OpenAPI document allows or forbids is answered as it says."""

from __future__ import annotations

import pytest

from scripts.dev.schema_fuzz import PHASES, run

# Every day's run leaves out the phase that works out the largest bodies.
QUICK = "examples,fuzzing"


@pytest.mark.minilm
@pytest.mark.emulator
@pytest.mark.parametrize(
    ("examples", "phases", "min_cases"),
    [(20, QUICK, 200), pytest.param(100, PHASES, 2_000, marks=pytest.mark.soak)],
    ids=["short", "long"],
)
def test_the_function_keeps_to_its_openapi_document(examples: int, phases: str, min_cases: int) -> None:
    result = run(examples, phases)
    print(f"\n{result.cases} requests made up from the OpenAPI document")
    assert result.passed, result.report
    assert result.alive
    assert result.cases >= min_cases
