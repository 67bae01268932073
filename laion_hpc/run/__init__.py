"""Tools over a whole run: they look at the outputs of many stages."""
