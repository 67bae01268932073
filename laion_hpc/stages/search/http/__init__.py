"""The service as HTTP: its routes, their handlers, and what is done for every request."""
