"""`python -m benchmarks cost`: what one incident costs."""
