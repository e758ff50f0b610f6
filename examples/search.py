"""A complete search over HTTP: CSV to vectors, a query finds candidates, a reranker orders them.

Start the function with ``make serve``, then: python examples/search.py "how is yellow fever transmitted"

It needs numpy and nothing else. For a deployed function give its address and a key:
python examples/search.py --url https://... --key KEY "..."
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

PASSAGES = Path(__file__).with_name("passages.csv")
# Texts in one request. The function accepts 2,048; smaller requests end sooner and are cheaper to repeat.
BATCH = 64


class Client:
    """Calls the function's OpenAI and Cohere routes."""

    def __init__(self, url: str, key: str) -> None:
        """Takes the function's address and, where it asks for one, a key."""
        self._url = url.rstrip("/")
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}

    def embed(self, texts: list[str], input_type: str) -> np.ndarray:
        """Returns one vector of length 1 for each text; shape (texts, dimensions), float32."""
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), BATCH):
            request = {
                "input": texts[start : start + BATCH],
                "input_type": input_type,
                "encoding_format": "base64",
            }
            response = self._post("/v1/embeddings", request)
            rows += [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in response["data"]]
        return np.stack(rows)

    def rerank(self, query: str, documents: list[str], top_n: int) -> list[tuple[int, float]]:
        """Returns the index and score of the best documents, best first."""
        response = self._post("/v2/rerank", {"query": query, "documents": documents, "top_n": top_n})
        return [(result["index"], result["relevance_score"]) for result in response["results"]]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(self._url + path, json.dumps(body).encode(), self._headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)


def search(client: Client, query: str, candidates: int = 5, top_n: int = 3) -> list[tuple[str, float, str]]:
    """Returns id, score and text of the passages that match a query, best first."""
    with PASSAGES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # In a real program the vectors are stored once, with the header x-model-fingerprint beside them.
    vectors = client.embed([row["text"] for row in rows], "passage")
    (query_vector,) = client.embed([query], "query")
    nearest = np.argsort(-(vectors @ query_vector))[:candidates]
    found = [rows[index] for index in nearest]
    ranked = client.rerank(query, [row["text"] for row in found], top_n)
    return [(found[index]["id"], score, found[index]["text"]) for index, score in ranked]


def main() -> None:
    """Reads the command line and prints the passages found."""
    parser = argparse.ArgumentParser(description="Searches examples/passages.csv.")
    parser.add_argument("query")
    parser.add_argument("--url", default="http://localhost:8000", help="(default: %(default)s)")
    parser.add_argument("--key", default="none", help="one of the keys of API_KEYS_SHA256")
    options = parser.parse_args()
    try:
        found = search(Client(options.url, options.key), options.query)
    except urllib.error.HTTPError as error:
        sys.exit(f"{options.url} answered {error.code}: {error.read(300).decode(errors='replace')}")
    except urllib.error.URLError as error:
        sys.exit(f"no response from {options.url} ({error.reason}): start the function with `make serve`")
    for identifier, score, text in found:
        print(f"{score:.3f}  {identifier:8}  {text}")


if __name__ == "__main__":
    main()
