"""Each line of docs/degradation.md, proved by unplugging what it names."""
