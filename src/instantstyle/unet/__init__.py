"""Block names, the tables of UNet families, and the selection of blocks."""
