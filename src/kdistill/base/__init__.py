"""What every room uses: errors, atomic storage, nearest words, ranged types, the metric catalogue."""
