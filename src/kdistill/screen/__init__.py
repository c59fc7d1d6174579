"""What a person sees while a command runs: one line that moves, the time left, and how to go on after Ctrl-C."""
