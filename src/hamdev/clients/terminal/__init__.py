"""What `hamdev watch` shows: one block a save, a line while a run takes long, and keys."""
