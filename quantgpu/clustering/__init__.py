"""From a histogram to a palette: arrays in, arrays out; neither files nor devices' names."""
