"""The task service: the life of one task, from acceptance to its end."""
