"""A checkpoint becomes a verified ONNX file."""
