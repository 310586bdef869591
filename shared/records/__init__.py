"""How rows of each table look, and the few operations on them."""
