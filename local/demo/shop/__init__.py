"""The demo's shop: a real HTTP process that a bad release really breaks."""
