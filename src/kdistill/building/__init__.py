"""From config sections to objects: networks, data, losses, devices; what may be built from a file."""
