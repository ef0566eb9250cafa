"""Text becomes a verdict: onnxruntime on a CPU, and nothing else."""
