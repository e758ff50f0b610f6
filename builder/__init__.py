"""Builds the model bundle: source, export, quantize, tokenizer, parity, write."""

import os

# onnxruntime reads this when it is first imported, and would otherwise report home and keep a database there.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
