"""The Lightning modules: the only place that knows Lightning's steps."""
