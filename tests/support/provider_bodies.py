"""Request bodies for every HTTP route, with any value in any field."""

from hypothesis import strategies as st

from lambda_app.api.routes import POSTS
from tests.support.json_values import JSON_VALUES

PATHS = [post.path for post in POSTS]
# What any family's clients send, some of it on the wrong route.
FIELDS = {
    "input": st.just("a") | st.lists(st.text(max_size=4), max_size=3),
    "inputs": st.just("a") | st.lists(st.text(max_size=4), max_size=3),
    "texts": st.lists(st.text(max_size=4), max_size=3),
    "query": st.text(max_size=4),
    "documents": st.lists(
        st.text(max_size=4) | st.fixed_dictionaries({"text": st.text(max_size=4)}), max_size=3
    ),
    "images": st.lists(st.text(max_size=4), max_size=1),
    "model": st.sampled_from(["m", "e5-base-v2:query", "e5-base-v2:passage"]),
    "encoding_format": st.sampled_from(["float", "base64"]),
    "embedding_types": st.lists(st.sampled_from(["float", "int8", "uint8", "binary", "ubinary", "base64"])),
    "embedding_type": st.sampled_from(["float", "base64", "binary"]),
    "dimensions": st.integers(-1, 5),
    "output_dimension": st.integers(-1, 5),
    "output_dtype": st.sampled_from(["float", "int8", "binary"]),
    "input_type": st.sampled_from(["query", "document", "search_query", "search_document", "none"]),
    "task": st.sampled_from(["retrieval.query", "retrieval.passage"]),
    "prompt_name": st.sampled_from(["query", "passage", "none"]),
    "truncate": st.sampled_from(["NONE", "START", "END"]) | st.booleans(),
    "truncation": st.booleans(),
    "truncation_direction": st.sampled_from(["Left", "right"]),
    "normalize": st.booleans(),
    "raw_scores": st.booleans(),
    "return_text": st.booleans(),
    "return_documents": st.booleans(),
    "add_special_tokens": st.booleans(),
    "max_tokens_per_doc": st.integers(-1, 20),
    "max_chunks_per_doc": st.integers(-1, 20),
    "top_n": st.integers(-1, 5),
    "top_k": st.integers(-1, 5),
    "user": st.text(max_size=4),
}
BODIES = st.fixed_dictionaries({}, optional={name: value | JSON_VALUES for name, value in FIELDS.items()})
