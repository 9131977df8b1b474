"""How the encoder is pretrained and the classifier fine-tuned."""
