"""The reviewed OpenAPI document: ``python -m tests.support.golden_openapi`` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path

from lambda_app.api.docs.openapi_document import document

GOLDEN = Path(__file__).with_name("golden_openapi.json")


def rendered() -> str:
    """The document, one line for each of its values, so that a change is easy to read."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(rendered(), encoding="utf-8")
