"""ONNX models in ONNX Runtime on the CPU; the only runtime so far."""
