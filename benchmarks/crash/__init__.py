"""The crash harness: real incidents on a real stack whose processes are killed with -9 at chosen points."""
