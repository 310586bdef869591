"""The processes of the development stack: broker, sandbox, shop and host, started, watched and stopped together."""
