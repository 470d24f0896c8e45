"""The same settings below one node, for an application with keys of its own by these names."""
