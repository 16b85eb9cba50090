"""From pixels to palette entries: each its nearest, by place, or with errors passed on."""
