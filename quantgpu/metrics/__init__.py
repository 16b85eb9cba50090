"""How far a result is from its source: squared error, CIEDE2000, structural similarity."""
