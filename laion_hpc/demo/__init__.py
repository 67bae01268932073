"""The whole pipeline on a synthetic web: pictures, pages, server, truth, model."""
