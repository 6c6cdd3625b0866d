"""The services: each object type of Pointsman on its own subjects."""
