"""Networks: our own small ones, timm's by name, or any class of the user's."""
