"""The built-in picture, and the contact sheet that shows what was done with it."""
