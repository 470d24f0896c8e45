"""The search space: its grammar, conditions between parameters, a trial's values, and checks before the first trial."""
