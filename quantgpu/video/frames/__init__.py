"""Sources of frames: pictures, animations, videos."""
