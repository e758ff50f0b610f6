"""Texts unlike those that a build is calibrated on: ranges of activations are set by others.

The parity gate looks at the worst of them, since a mean over many texts would hide it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from builder.parity import fidelity

Vectors = NDArray[np.float32]
# Takes texts and their input types; returns the reference's vectors and the bundle's.
Embed = Callable[[Sequence[str], Sequence[Literal["none"]]], tuple[Vectors, Vectors]]
# Takes queries with their documents; returns the reference's logits and the bundle's, for each query.
Score = Callable[[Sequence[tuple[str, Sequence[str]]]], tuple[Sequence[Vectors], Sequence[Vectors]]]

_QUERY = "How long does a loaded train need to stop?"

# Well over the longest text of any model, in tokens.
_REPEATED = 8200

_TEXTS: Mapping[str, str] = {
    "one token": "river",
    "one character": "?",
    "capitals": "WARNING: DO NOT OPEN THE DOORS WHILE THE TRAIN IS MOVING. KEEP CLEAR OF THE PLATFORM EDGE.",
    "code": "for (size_t i = 0; i < n; ++i) { if (x[i] != NULL && !seen[x[i]->id]) n2 += x[i]->len << 2; }",
    "markup": '<div class="row"><a href="/?q=1&amp;p=2">&nbsp;</a></div>\n{"ids": [1, 2, 3], "ok": null}',
    "emoji": "🚂🚃🚃🚃 💨 ➡️ 🏔️🌲🌲 😀😃😄 👩‍🚒👨‍👩‍👧‍👦 🇨🇭 ❤️‍🔥",
    "digits": "3.14159265358979323846264338327950288419716939937510 2718281828 1618033988 +41 44 668 18 00",
    "base64": "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlz",
    "punctuation": "!!! ??? ... --- *** ### @@@ $$$ %%% ^^^ &&& ((( ))) [[[ ]]] {{{ }}} ;;; ::: ,,,",
    "accents": "Ža̧ĺgo̱ t̷e̶x̵t̸ ñáéíóú ǫ̀ ṩ̂ Ầ Ṏ ﬁ ﬂ ½ № ™",
    "Arabic": "غادر القطار المحطة في الساعة العاشرة ليلا",
    "Chinese": "夜行列車十點從海邊的車站出發。乘客都睡著了。",
    "Hindi": "रात की रेलगाड़ी दस बजे तट के लिए रवाना होती है।",
    "Amharic": "ባቡሩ በሌሊት በአሥር ሰዓት ይነሳል።",
    "letters": "q w e r t y u i o p a s d f g h j k l z x c v b n m",
    "nonsense": "xqzvk jjwqp zzxcv bnmqw plokm ijnuh bygvt fcrdx eszwa qazws xedcr fvtgb",
    "a repeated token": "train " * _REPEATED,
    "a repeated character": "(" * _REPEATED,
}


def unusual_texts() -> dict[str, str]:
    """Returns texts by what is unusual in them."""
    return dict(_TEXTS)


def unusual_vectors(embed: Embed) -> dict[str, Any]:
    """Returns the cosine of each unusual text's two vectors, and ``unusual_cosine``, the worst."""
    expected, found = embed([*_TEXTS.values()], ["none"] * len(_TEXTS))
    cosines = (expected * found).sum(axis=1)
    return {
        "unusual": {name: fidelity.rounded(cosine) for name, cosine in zip(_TEXTS, cosines, strict=True)},
        "unusual_cosine": fidelity.rounded(cosines.min()),
    }


def unusual_scores(score: Score) -> dict[str, Any]:
    """Returns by how much scores of unusual texts differ, as documents, and ``unusual_score_difference``.

    The second is the largest, unusual queries included.
    """
    rankings = [(_QUERY, [*_TEXTS.values()]), *((text, [_QUERY]) for text in _TEXTS.values())]
    differences = [
        np.abs(fidelity.sigmoid(one) - fidelity.sigmoid(other))
        for one, other in zip(*score(rankings), strict=True)
    ]
    return {
        "unusual": {name: fidelity.rounded(one) for name, one in zip(_TEXTS, differences[0], strict=True)},
        "unusual_score_difference": fidelity.rounded(np.concatenate(differences).max()),
    }
