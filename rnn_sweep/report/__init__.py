"""A study as something to read: figures, a page that opens offline, pictures, a note for MLflow's UI."""
