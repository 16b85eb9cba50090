"""From pixels to a histogram: counting, weights by what the eye sees, slabs on a GPU."""
