"""The registry service: the fleet's records and what clients are shown of them."""
