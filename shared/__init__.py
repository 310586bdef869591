"""The system: model, ports, agents, adapters, and the hop that ties them."""
