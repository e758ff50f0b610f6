"""Special tokens around texts, and how two texts share the budget between them.

Both as the tokenizers library does it; done here because the library keeps truncation as a setting of the
tokenizer, which requests of different lengths would have to take turns in changing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Template(NamedTuple):
    """Special tokens around texts: ``special_ids[i]`` stands before text ``i``, the last one at the end.

    ``special_types`` are the segment ids of each run, ``text_types`` of each text.
    """

    special_ids: tuple[tuple[int, ...], ...]
    special_types: tuple[tuple[int, ...], ...]
    text_types: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return sum(map(len, self.special_ids))

    def fill(self, *texts: Sequence[int]) -> list[int]:
        """Token ids of the texts with the special tokens in place."""
        ids = list(self.special_ids[0])
        for text, run in zip(texts, self.special_ids[1:], strict=True):
            ids += text
            ids += run
        return ids

    def types(self, *lengths: int) -> list[int]:
        """Segment ids for texts of these lengths."""
        ids = list(self.special_types[0])
        for length, own, run in zip(lengths, self.text_types, self.special_types[1:], strict=True):
            ids += [own] * length
            ids += run
        return ids


def parse_templates(post_processor: Mapping[str, Any] | None) -> tuple[Template, Template | None]:
    """Frames of single texts and of pairs from the ``post_processor`` of a ``tokenizer.json``.

    The second is None where there is no post-processor: nothing then says how to join two texts.

    Raises:
        ValueError: a post-processor other than TemplateProcessing, BertProcessing, RobertaProcessing or a
            Sequence with one of them, or a template that does not hold each text once and in order.
    """
    if post_processor is None:
        return Template(((), ()), ((), ()), (0,)), None
    kind = post_processor["type"]
    if kind == "Sequence":
        # ByteLevel changes offsets only, which are not used here
        inner = [each for each in post_processor["processors"] if each["type"] != "ByteLevel"]
        if len(inner) == 1:
            return parse_templates(inner[0])
    elif kind == "TemplateProcessing":
        special = {name: tuple(token["ids"]) for name, token in post_processor["special_tokens"].items()}
        single = _template(post_processor["single"], special, "A")
        return single, _template(post_processor["pair"], special, "AB")
    elif kind in ("BertProcessing", "RobertaProcessing"):
        first, last = (post_processor["cls"][1],), (post_processor["sep"][1],)
        single = Template((first, last), ((0,), (0,)), (0,))
        if kind == "BertProcessing":
            return single, Template((first, last, last), ((0,), (0,), (1,)), (0, 1))
        return single, Template((first, last * 2, last), ((0,), (0, 0), (0,)), (0, 0))
    raise ValueError(f"post-processor {kind} is not supported")


def _template(
    template: Sequence[Mapping[str, Any]], special: Mapping[str, tuple[int, ...]], names: str
) -> Template:
    special_ids: list[list[int]] = [[]]
    special_types: list[list[int]] = [[]]
    text_types: list[int] = []
    order = ""
    for piece in template:
        if "Sequence" in piece:
            order += piece["Sequence"]["id"]
            text_types.append(piece["Sequence"]["type_id"])
            special_ids.append([])
            special_types.append([])
        else:
            ids = special[piece["SpecialToken"]["id"]]
            special_ids[-1] += ids
            special_types[-1] += [piece["SpecialToken"]["type_id"]] * len(ids)
    if order != names:
        raise ValueError(f"a template's texts {order or '(none)'} are not supported, expected {names}")
    return Template(tuple(map(tuple, special_ids)), tuple(map(tuple, special_types)), tuple(text_types))


def longest_first(first: int, second: int, budget: int) -> tuple[int, int]:
    """Returns the lengths that are left of two texts which share ``budget`` tokens.

    The same as ``truncate_encodings`` of the tokenizers library.
    A text that fits in half the budget keeps its length; two that do not get half each, and an odd token goes
    to the longer one (to the second if they are equal).
    """
    if first + second <= budget:
        return first, second
    shorter = min(first, second)
    longer = max(shorter, budget - shorter)
    if shorter + longer > budget:
        shorter, longer = budget // 2, budget - budget // 2
    return (longer, shorter) if first > second else (shorter, longer)
