"""What is measured on demand: how lifelike the simulated market is, and how fast the pipeline is."""
