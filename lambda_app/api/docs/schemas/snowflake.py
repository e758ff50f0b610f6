"""Models of what Snowflake's external functions read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lambda_app.api.docs.schemas.common import Answer

# Not tuples: tools that read the description take the schemas of their places (prefixItems) for an error.
VectorRow = Annotated[list[int | list[float] | None], Field(min_length=2, max_length=2)]
ScoreRow = Annotated[list[float | None], Field(min_length=2, max_length=2)]


class SnowflakeVectors(Answer):
    """The number of each row, and its vector."""

    data: list[VectorRow]


class SnowflakeScores(Answer):
    """The number of each row, and its score."""

    data: list[ScoreRow]
