"""What a person sees of a run; reads figures and folders, never imports torch."""
