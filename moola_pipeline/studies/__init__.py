"""Studies that compare trainings: the pretraining study, the ablation, the stability of seeds."""
