"""The fields of a job: what is described is what is taken."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.bulk.job import read_job
from lambda_app.bulk.job_fields import ChunkRequest, JobRequest
from lambda_app.errors import FieldError
from scripts.paths import ROOT
from tests.support.bulk_jobs import job
from tests.support.json_schema import valid

COMPONENTS = {"ChunkRequest": ChunkRequest.schema(lambda kind: {})}
SCHEMA = JobRequest.schema(lambda kind: {"$ref": f"#/{kind.__name__}"})
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 120),
    st.floats(allow_nan=False),
    st.sampled_from(["", "jsonl", "PARQUET", "csv", "base64", "query", "x", 2_000, 100.0]),
    st.just({}),
    st.fixed_dictionaries(
        {"tokens": st.integers(-1, 9)}, optional={"overlap": st.integers(-1, 9) | st.none()}
    ),
    st.just(["n"]),
    st.just(["n", 1]),
    st.just([]),
)
NAMES = st.sampled_from([*(name for name in JobRequest.fields if name not in ("source", "output")), "typo"])
# What a schema does not say: how two fields or two items belong together, and what an address is.
UNDESCRIBED = re.compile("work must be|overlap must be less|tokens is missing|may not name|each once")


@given(st.dictionaries(NAMES, VALUES, max_size=3))
@settings(max_examples=500, deadline=None)
def test_the_schema_describes_the_jobs_that_are_read(changes: dict[str, Any]) -> None:
    refused = None
    try:
        read_job({"action": "plan", "job": job(**changes)})
    except FieldError as error:
        refused = error.message
    described = valid(job(**changes), SCHEMA, COMPONENTS)
    assert described is (refused is None) or (refused and UNDESCRIBED.search(refused)), refused


@pytest.mark.parametrize("name", ["source", "output"])
def test_what_is_required(name: str) -> None:
    fields = job()
    del fields[name]
    assert not valid(fields, SCHEMA, COMPONENTS)
    with pytest.raises(FieldError) as caught:
        read_job({"action": "plan", **fields})
    assert (caught.value.code, caught.value.param) == ("missing_field", name)


def test_the_page_has_all_fields() -> None:
    page = (ROOT / "docs" / "BULK.md").read_text(encoding="utf-8")
    table = page.partition("### The job")[2].partition("The actions of the function")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(JobRequest.fields)


def test_unknown_fields_are_refused_with_the_nearest_known() -> None:
    for fields, name, nearest in (
        ({"txt_field": "x"}, "txt_field", "text_field"),
        ({"chunk": {"token": 4}}, "chunk.token", "chunk.tokens"),
    ):
        with pytest.raises(FieldError) as caught:
            read_job({"action": "plan", "job": job(**fields)})
        assert (caught.value.code, caught.value.param) == ("unknown_field", name)
        assert nearest in caught.value.message
