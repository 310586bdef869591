"""Local Functions host: runs an unchanged `function_app.py` with its HTTP, timer, queue and Durable triggers."""
