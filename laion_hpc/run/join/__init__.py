"""LAION's published tags, joined to a table of samples by hash."""
