"""PyTorch to ONNX: export, the head, and the products that quantization changes."""
