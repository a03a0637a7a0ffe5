"""Storage: objects, encrypted at rest, checked on the way in and on the way out."""
