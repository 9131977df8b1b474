"""The networks and the rule: parameters and forward passes, nothing else."""
