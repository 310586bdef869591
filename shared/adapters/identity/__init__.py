"""How people are known; `development` is for this machine, a platform brings its own."""
