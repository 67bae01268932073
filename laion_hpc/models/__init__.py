"""CLIP towers: one interface over open_clip and sentence-transformers."""
