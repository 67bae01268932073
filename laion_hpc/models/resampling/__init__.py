"""Pillow's resampling, byte for byte, vectorised, and only of the part that is kept."""
