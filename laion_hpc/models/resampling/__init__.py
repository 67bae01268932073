"""Pillow's resampling, byte for byte, of only the part of an image that is kept, and vectorised."""
