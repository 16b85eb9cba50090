"""Files: pictures, what they say beside their pixels, palettes and histograms."""
