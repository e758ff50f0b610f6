"""Texts to token ids: compiled vocabularies, and the tokenizers library for what they do not cover."""

from lambda_app.models.tokenizer.load import load_tokenizer, open_tokenizer

__all__ = ["load_tokenizer", "open_tokenizer"]
