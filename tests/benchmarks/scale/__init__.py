"""`python -m benchmarks scale`: what gives first."""
