"""What an encoder can be pretrained on: one module an objective, all behind one interface."""
