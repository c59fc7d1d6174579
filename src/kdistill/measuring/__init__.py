"""What is measured on a network and on its predictions: metrics, cost, latency."""
