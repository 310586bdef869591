"""Types only, standard library only; start with `pipeline`."""
