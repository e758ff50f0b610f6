"""Deterministic fuzz texts: what tokenizers disagree about, in more scripts than any user will send at once.

The build's parity gate and the tests draw from here, so a difference found by one is reproduced by the other
from ``(count, seed)`` alone. No text holds a lone surrogate: those never reach a tokenizer.
"""

import random
from collections.abc import Callable, Iterator

_LETTERS: dict[str, tuple[tuple[int, int], ...]] = {
    "latin": ((0x61, 0x7A), (0x41, 0x5A), (0xC0, 0x17F), (0x1E00, 0x1EFF)),
    "greek": ((0x391, 0x3A1), (0x3B1, 0x3C9), (0x1F00, 0x1F15)),
    "cyrillic": ((0x410, 0x44F), (0x450, 0x481)),
    "armenian": ((0x531, 0x556), (0x561, 0x587)),
    "hebrew": ((0x5D0, 0x5EA), (0x5B0, 0x5BD), (0xFB1D, 0xFB36)),
    "arabic": (
        (0x620, 0x64A),
        (0x64B, 0x655),
        (0x600, 0x605),
        (0xFB50, 0xFBB1),
        (0xFDF0, 0xFDFC),
        (0xFE70, 0xFE74),
    ),
    "syriac": ((0x710, 0x74A),),
    "devanagari": ((0x904, 0x939), (0x93A, 0x94F), (0x958, 0x95F)),
    "bengali": ((0x985, 0x98C), (0x995, 0x9A8), (0x9BE, 0x9CC), (0x9DC, 0x9DF)),
    "gurmukhi": ((0xA05, 0xA0A), (0xA15, 0xA28), (0xA3E, 0xA42)),
    "tamil": ((0xB85, 0xB8A), (0xB95, 0xB95), (0xBA8, 0xBB9), (0xBBE, 0xBCC)),
    "telugu": ((0xC05, 0xC0C), (0xC15, 0xC28), (0xC3E, 0xC4C)),
    "malayalam": ((0xD05, 0xD0C), (0xD15, 0xD28), (0xD3E, 0xD4E)),
    "sinhala": ((0xD85, 0xD96), (0xD9A, 0xDB1), (0xDCF, 0xDDF)),
    "thai": ((0xE01, 0xE3A), (0xE40, 0xE5B)),
    "lao": ((0xE81, 0xE82), (0xE94, 0xEB9), (0xEC0, 0xEC4), (0xEDC, 0xEDD)),
    "tibetan": ((0xF40, 0xF6C), (0xF71, 0xF84)),
    "myanmar": ((0x1000, 0x103E),),
    "georgian": ((0x10D0, 0x10FA), (0x10A0, 0x10C5)),
    "hangul": ((0xAC00, 0xD7A3), (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2)),
    "ethiopic": ((0x1200, 0x1248), (0x1260, 0x1288)),
    "khmer": ((0x1780, 0x17B3), (0x17B6, 0x17D3)),
    "mongolian": ((0x1820, 0x1842), (0x180B, 0x180E)),
    "hiragana": ((0x3041, 0x3096), (0x3099, 0x309E)),
    "katakana": ((0x30A1, 0x30FA), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)),
    "han": ((0x4E00, 0x9FA5), (0x4E00, 0x51FF), (0x3400, 0x3450), (0xF900, 0xFA2D), (0x20000, 0x20100)),
    "cherokee": ((0x13A0, 0x13F4),),
    "canadian": ((0x1401, 0x1480),),
    "gothic": ((0x10330, 0x1034A),),
    "cuneiform": ((0x12000, 0x12050),),
}
_UNSPACED = ("han", "hiragana", "katakana", "thai", "lao", "khmer", "myanmar", "tibetan")
_MARKS = (
    (0x300, 0x36F),
    (0x483, 0x489),
    (0x1AB0, 0x1ABE),
    (0x20D0, 0x20F0),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
)
_SYMBOLS = (
    (0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0x2010, 0x205E),
    (0x2070, 0x209C), (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2150, 0x218B), (0x2190, 0x22FF),
    (0x2460, 0x24FF), (0x2500, 0x25FF), (0x3001, 0x303F), (0x3200, 0x33FF), (0xFF01, 0xFF65),
    (0xFFE0, 0xFFEE), (0x1D400, 0x1D7FF), (0x1F100, 0x1F1E5),
)  # fmt: skip
_ODD = (
    (0xE000, 0xE0FF),
    (0xF0000, 0xF0010),
    (0x378, 0x379),
    (0xFFF0, 0xFFFD),
    (0xE0020, 0xE007F),
    (0xFDD0, 0xFDEF),
)
_SPACES = (
    " ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680",
    "\u2002", "\u2003", "\u2009", "\u200a", "\u200b", "\u200c", "\u200d", "\u2028", "\u2029", "\u202f",
    "\u205f", "\u2060", "\u3000", "\ufeff", "\xad", "\u180e", "\u200e", "\u2581", " \u2581 ",
)  # fmt: skip
_EMOJI = (
    "😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "🇩🇪🇯🇵", "1️⃣", "❤️", "☎︎", "🧑🏿‍🚀", "🤷‍♀️", "🫠", "👩‍❤️‍💋‍👨",
    "🏴\U000e0067\U000e0062\U000e007f", "⚠️⚠",
)  # fmt: skip
_WORDS = (
    "the of and to in is that for embedding retrieval search query document answer model vector index Lambda "
    "serverless cold start latency what's don't naïve café Straße œuvre İstanbul ﬁne ﬃ état-major e.g. "
    "U.S.A. COVID-19 x86-64 GPT-4o"
).split()
_CODE = (
    "def f(x: int) -> str:\n    return f'{x!r}'  # why\n", "if (a && b || !c) { x += y[i]->z; }",
    "<div class=\"a b\">&nbsp;</div>", "SELECT * FROM t WHERE a >= 1 AND b LIKE '%x%';",
    '{"k": [1, 2.5e-3, null, true]}', "$ grep -rn 'a\\|b' . | wc -l", "\\frac{1}{2}\\sum_{i=0}^{n} x_i^2",
    "::std::vec<u8>", "C:\\Users\\a\\b.txt", "git+https://a.b/c.git@v1#egg=d",
)  # fmt: skip
_URLS = (
    "https://example.com/a/b?c=d&e=%20f#g", "http://[::1]:8080/", "user.name+tag@example.co.uk",
    "www.例え.jp/パス", "ftp://x.y/z~1",
)  # fmt: skip
CONTROL_TEXTS = (
    "<s>", "</s>", "<unk>", "<pad>", "<mask>", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]",
    "<|endoftext|>", "<0x41>", "<S>", "\uff1c\uff0f\uff53\uff1e",
    "</s></s>", " <mask>", "[sep]", "##ing", "▁", "▁▁", "▁the",
)  # fmt: skip
"""Texts that spell control tokens (some in full-width letters, which NFKC folds back)."""


def _char(rng: random.Random, ranges: tuple[tuple[int, int], ...]) -> str:
    low, high = rng.choice(ranges)
    return chr(rng.randint(low, high))


def _word(rng: random.Random, script: str, longest: int = 12) -> str:
    ranges = _LETTERS[script]
    return "".join(_char(rng, ranges) for _ in range(rng.randint(1, longest)))


def _script_text(rng: random.Random) -> str:
    script = rng.choice(list(_LETTERS))
    return " ".join(_word(rng, script) for _ in range(rng.randint(1, 15)))


def _unspaced(rng: random.Random) -> str:
    script = rng.choice(_UNSPACED)
    return "。".join(_word(rng, script, 60) for _ in range(rng.randint(1, 4)))


def _english(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 60)))


def _mixed_scripts(rng: random.Random) -> str:
    scripts = list(_LETTERS)
    return "".join(
        _word(rng, rng.choice(scripts), 4) + rng.choice(("", "", *_SPACES)) for _ in range(rng.randint(1, 20))
    )


def _combining(rng: random.Random) -> str:
    base = _word(rng, rng.choice(list(_LETTERS)))
    return "".join(c + "".join(_char(rng, _MARKS) for _ in range(rng.choice((0, 0, 1, 2, 5)))) for c in base)


def _spaces(rng: random.Random) -> str:
    return "".join(rng.choice(_SPACES) + rng.choice((*_WORDS, "", "")) for _ in range(rng.randint(1, 15)))


def _controls(rng: random.Random) -> str:
    return "".join(
        chr(rng.choice((rng.randint(1, 31), rng.randint(0x7F, 0x9F), 0xAD))) + rng.choice(_WORDS)
        for _ in range(rng.randint(1, 6))
    )


def _symbols(rng: random.Random) -> str:
    return "".join(
        _char(rng, rng.choice((_SYMBOLS, _ODD, _SYMBOLS))) + rng.choice(("", "", " "))
        for _ in range(rng.randint(1, 20))
    )


def _emoji(rng: random.Random) -> str:
    return "".join(rng.choice((*_EMOJI, " ", "ok ", "\u200d", "\ufe0f")) for _ in range(rng.randint(1, 10)))


def _numbers(rng: random.Random) -> str:
    forms = (
        "{:d}",
        "{:,d}",
        "-{:d}.5",
        "{:x}",
        "{:d}%",
        "€{:d}",
        "{:d}km²",
        "½{:d}",
        "٣{:d}",
        "①{:d}",
        "{:d}/{:d}",
    )
    return " ".join(
        rng.choice(forms).format(rng.randrange(10**9), rng.randrange(99)) for _ in range(rng.randint(1, 8))
    )


def _long_word(rng: random.Random) -> str:
    unit = rng.choice(
        (
            "a",
            "ab",
            "ha",
            "x1",
            "-",
            ".",
            "=",
            "汉",
            "ก",
            "ー",
            "😀",
            "\u0301",
            _word(rng, rng.choice(list(_LETTERS))),
        )
    )
    return rng.choice(("", "go ", "▁")) + unit * rng.randint(50, 800 // len(unit) + 60)


def _control_text(rng: random.Random) -> str:
    return "".join(rng.choice((*CONTROL_TEXTS, *_WORDS, " ", " ", "")) for _ in range(rng.randint(1, 8)))


def _passage(rng: random.Random) -> str:
    parts = (_english, _english, _numbers, _script_text, _emoji, _symbols)
    return "\n".join(rng.choice(parts)(rng) for _ in range(rng.randint(2, 8)))


def _soup(rng: random.Random) -> str:
    """Any code points but surrogates and NUL."""
    picks = (
        rng.choice((rng.randint(1, 0xD7FF), rng.randint(0xE000, 0xFFFF), rng.randint(0x10000, 0x10FFFF)))
        for _ in range(40)
    )
    return "".join(chr(p) for p in picks)[: rng.randint(0, 40)]


_KINDS: tuple[Callable[[random.Random], str], ...] = (
    _script_text, _unspaced, _english, _mixed_scripts, _combining, _spaces, _controls, _symbols, _emoji,
    _numbers, _long_word, _control_text, _passage, _soup,
    lambda rng: " ".join(rng.choice(_CODE) for _ in range(rng.randint(1, 3))),
    lambda rng: " ".join(rng.choice(_URLS) for _ in range(rng.randint(1, 4))),
    lambda rng: "".join(chr(rng.randint(1, 126)) for _ in range(rng.randint(0, 60))),
)  # fmt: skip


def fuzz_texts(count: int, seed: int) -> Iterator[str]:
    """Yield ``count`` texts, the same ones for the same seed on every platform and Python version.

    Every kind of text comes round once in ``len(kinds)``, so that a short slice still holds all of them.
    """
    rng = random.Random(seed)
    for number in range(count):
        yield _KINDS[number % len(_KINDS)](rng)


def fuzz_pairs(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield ``count`` pairs (query, document) of fuzz texts."""
    texts = list(fuzz_texts(count * 2, seed))
    random.Random(seed).shuffle(texts)
    yield from zip(texts[:count], texts[count:], strict=True)
