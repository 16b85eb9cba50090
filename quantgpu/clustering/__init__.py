"""From a histogram to a palette: arrays in, arrays out; no files and no names of devices."""
