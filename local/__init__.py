"""Development hosts: run the function apps, their queues and their far sides on one machine; never deployed."""
