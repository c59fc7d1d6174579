"""Loggers: CSV, TensorBoard, W&B."""
