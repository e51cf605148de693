"""Speed of noisylib against other ways to do the same work. One command: ``python -m benchmarks``."""
