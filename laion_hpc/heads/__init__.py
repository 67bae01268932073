"""Heads: small networks that read a score from an embedding; imported, trained, described."""
