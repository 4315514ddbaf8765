"""Diffusion transformers: their families, and the layers that a style acts in."""
