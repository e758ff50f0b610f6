"""The floor: the minimum that a Python process has to do for one embedding.

No emulator, no awslambdaric, no web layer, no tokenizer: interpreter, onnxruntime, one session over mapped
weights, one inference with constant ids. Reads the tensors' places from the JSON file that is its argument
and writes the time when it is done; then it waits, so that its memory can be read.
"""

import json
import mmap
import os
import sys
import time

import numpy as np
import onnxruntime

with open(sys.argv[1], encoding="ascii") as _stream:
    plan = json.load(_stream)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.intra_op_num_threads = len(os.sched_getaffinity(0))
options.add_session_config_entry("session.disable_prepacking", "1")
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
with open(plan["weights"], "rb") as _weights:
    mapping = mmap.mmap(_weights.fileno(), 0, prot=mmap.PROT_READ)
values = []
for name, dtype, shape, offset, size in plan["tensors"]:
    kind = np.dtype(dtype)
    array = np.frombuffer(mapping, kind, size // kind.itemsize, offset).reshape(shape)
    values.append(onnxruntime.OrtValue.ortvalue_from_numpy(array))
    options.add_initializer(name, values[-1])
session = onnxruntime.InferenceSession(plan["graph"], options, providers=["CPUExecutionProvider"])
ids = np.full((1, 16), 1037, np.int64)
inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
vector = session.run(None, inputs)[0]
if not np.isfinite(vector).all():
    raise SystemExit("the model produced a value that is not finite")
print(repr(time.time()), flush=True)
sys.stdin.read()
