"""What the load benchmarks share: the same seeded alerts for every target, a sender, a sink, and what it costs."""
