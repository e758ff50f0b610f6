"""Values of records that other services write: whatever they are, reading one never raises."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_app.api.events.records import get, word


@pytest.mark.parametrize(
    ("value", "found", "text"),
    [
        ({"name": "Grüße"}, "Grüße", "Grüße"),
        ({"name": ""}, "", ""),
        ({"name": None}, None, ""),
        ({"name": 7}, 7, ""),
        ({"name": "\ud800"}, "\ud800", ""),  # no response could carry it
        ({"other": "x"}, None, ""),
        (["name"], None, ""),
        ("name", None, ""),
        (None, None, ""),
    ],
)
def test_a_field_is_read_from_any_value(value: Any, found: Any, text: str) -> None:
    assert get(value, "name") == found
    assert word(value, "name") == text
