"""Run folders: what one holds, how finished ones are found, sorted into arms and sweeps."""
