"""Helpers without knowledge of diffusion models."""
