"""Scales of activations as a manifest records them."""

from typing import Any

CONSTANT: dict[str, Any] = {
    "scale": "static",
    "step": 0.0625,
    "zero": 120,
    "low": -7.5,
    "high": 8.25,
    "margin": 0.0,
}
BY_TOKEN: dict[str, Any] = {
    "scale": "token",
    "step": 1 / 127,
    "zero": 128,
    "floor": 0.125,
    "one_sided": False,
    "low": -7.5,
    "high": 8.25,
    "margin": 0.0,
}
