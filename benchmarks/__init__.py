"""What we claim about speed, for anyone to run: ``python -m benchmarks``."""
