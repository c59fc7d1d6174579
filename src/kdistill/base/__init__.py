"""What every room uses: errors, atomic storage, spelling, ranged types, the metric catalogue."""
