"""The models: sessions, tokenizers, batching.

Importing this package sets two defaults that must stand before numpy and onnxruntime are first imported.
"""

import os

# onnxruntime's Linux wheels send telemetry and keep a database under HOME by default.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# numpy's BLAS starts a thread per CPU when it is imported (60 ms of CPU time on two cores); nothing here
# uses it for more than a few dot products.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
