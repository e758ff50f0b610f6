"""Quantization schemes side by side."""
