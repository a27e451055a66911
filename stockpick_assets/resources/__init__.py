"""What the outside world is to stockpick: one vendor a file. No business rule."""
