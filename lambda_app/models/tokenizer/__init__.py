"""Texts to token ids: compiled vocabularies, with the tokenizers library where they do not reach."""

from lambda_app.models.tokenizer.tokenizer import load_tokenizer

__all__ = ["load_tokenizer"]
