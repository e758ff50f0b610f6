"""What the PyTorch model answers to the texts of ``events/``: all-MiniLM-L6-v2 in FP32, transformers alone.

``python -m tests.support.golden_events MODEL_DIRECTORY`` writes ``golden_events.json``. The project's own
code has no part in it.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("golden_events.json")
TEXTS = (
    "How long does a Lambda function keep its memory between two requests?",
    "what is a cold start",
    "Der Zug nach Wien fährt um acht Uhr ab.",
    "Yellow fever is transmitted by mosquitoes.",
    "黄热病由蚊子传播。",
    "The treaty was signed in 1648 and ended the Thirty Years' War.",
    "how is yellow fever transmitted",
    "A fever is a body temperature above the normal range.",
    "Which river flows through Budapest?",
    "The Danube divides Budapest into Buda on the west bank and Pest on the east.",
    "Budapest's thermal baths are fed by more than a hundred hot springs.",
    "The Thames reaches the North Sea east of London.",
    "boiling point of water at altitude",
    "At 3,000 metres water boils at about 90 °C.",
    "Water freezes at 0 °C at sea level.",
    "A pressure cooker raises the boiling point.",
)


def golden_vectors() -> dict[str, np.ndarray]:
    """Text to its vector of length 1, float32."""
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return {text: np.frombuffer(base64.b64decode(vector), "<f4") for text, vector in content.items()}


def main(model: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModel.from_pretrained(model).eval()
    content = {}
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            mean = network(**inputs).last_hidden_state[0].mean(dim=0)
        vector = torch.nn.functional.normalize(mean, dim=0).numpy().astype("<f4")
        content[text] = base64.b64encode(vector.tobytes()).decode("ascii")
    GOLDEN.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
