"""Where the frames of a clip come from: pictures, animations, videos."""
