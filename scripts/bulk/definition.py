"""The state machine of template.yaml, with values in place of the stack's."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from scripts.paths import ROOT

BEGIN = "DefinitionString: !Sub |\n"


def definition(values: Mapping[str, object]) -> str:
    """Returns the definition with ``${NAME}`` replaced.

    Raises:
        ValueError: the template has no definition, or a value is missing.
    """
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    _, found, rest = text.partition(BEGIN)
    if not found:
        raise ValueError("template.yaml has no state machine")
    first = rest[: len(rest) - len(rest.lstrip(" "))]
    lines = []
    for line in rest.split("\n"):
        if line and not line.startswith(first):
            break
        lines.append(line)
    result = textwrap.dedent("\n".join(lines))
    for name, value in values.items():
        result = result.replace(f"${{{name}}}", str(value))
    if "${" in result:
        name = result.partition("${")[2].partition("}")[0]
        raise ValueError(f"no value for {name} of the state machine")
    return result
