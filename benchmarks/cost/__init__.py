"""What one incident costs: counted calls, messages and executions, and a dated table of prices."""
