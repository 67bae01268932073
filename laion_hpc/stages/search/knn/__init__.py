"""Searching an index: vectors, filters and metadata, each memory-mapped."""
