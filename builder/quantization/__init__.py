"""FP32 graphs to INT8 and its relatives."""
