"""Reads template.yaml and evaluates its rules as CloudFormation does."""

from __future__ import annotations

from typing import Any

import yaml

from scripts.paths import ROOT


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: ``!Ref x`` is ``{"Ref": "x"}``."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise AssertionError(f"!{suffix} of a mapping")
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)

TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), _Loader)
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]


def value(expression: Any, parameters: dict[str, Any]) -> Any:
    """Evaluates an expression of the rules section on a stack's parameters."""
    if not isinstance(expression, dict):
        return expression
    ((name, argument),) = expression.items()
    if name == "Ref":
        return parameters[argument]
    values = [value(item, parameters) for item in argument]
    match name:
        case "Fn::Equals":
            return values[0] == values[1]
        case "Fn::Not":
            return not values[0]
        case "Fn::And":
            return all(values)
        case "Fn::Or":
            return any(values)
        case "Fn::EachMemberEquals":
            return all(member == values[1] for member in values[0])
    raise AssertionError(f"{name} is not a function of rules")


def refusals(**changed: str) -> list[str]:
    """The messages of the rules that refuse these parameters and the defaults of the others."""
    parameters: dict[str, Any] = {}
    for name, declared in TEMPLATE["Parameters"].items():
        text = changed.get(name, str(declared.get("Default")))
        parameters[name] = text.split(",") if declared["Type"] == "CommaDelimitedList" else text
    assert changed.keys() <= parameters.keys()
    return [
        assertion["AssertDescription"]
        for rule in TEMPLATE["Rules"].values()
        if value(rule.get("RuleCondition", True), parameters)
        for assertion in rule["Assertions"]
        if not value(assertion["Assert"], parameters)
    ]
