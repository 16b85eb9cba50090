"""The built-in picture, and the contact sheet of its quantized versions."""
