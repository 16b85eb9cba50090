"""Colors as numbers: packed keys, color spaces, alpha, and the order of cells."""
