"""One run: what is decided before the first step, the fit, the test, the finished folder."""
