"""sentence-transformers, linear layers quantized to INT8 when the function starts: the common PyTorch way."""

import torch

from benchmarks.contenders import pytorch_fp32
from benchmarks.contenders.pytorch_fp32 import handler

__all__ = ["handler"]

for model in (pytorch_fp32.embedder, pytorch_fp32.reranker):
    torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
