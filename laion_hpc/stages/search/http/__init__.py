"""The service as HTTP: its routes, their handlers, and what goes around every request."""
