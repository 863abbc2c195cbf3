"""ONNX models in ONNX Runtime: the only part that imports it."""
