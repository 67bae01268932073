"""laion_hpc: build an image-text dataset from the web on a supercomputer."""

__version__ = "0.1.0"
