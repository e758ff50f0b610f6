"""Tokenizers compiled into files that open without being parsed."""
