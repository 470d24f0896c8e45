"""Launchers: what runs the jobs of a sweep."""
