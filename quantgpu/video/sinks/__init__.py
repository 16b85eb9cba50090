"""Where the frames of a clip go: a file for each kind."""
