"""Where a teacher comes from: a checkpoint, a recipe that trains it, several members."""
