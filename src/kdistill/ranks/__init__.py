"""The processes that train one run together: what each knows of the others, and what the first does for all."""
