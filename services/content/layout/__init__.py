"""Layout: from a requested style and a text to measured lines at their place on a canvas."""
