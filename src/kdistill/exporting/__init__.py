"""From a finished run to a file that runs on a device, tested there; and the answers of such a file."""
