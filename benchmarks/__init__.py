"""What ARGUS promises in numbers, measured on the running stack: `python -m benchmarks`."""
