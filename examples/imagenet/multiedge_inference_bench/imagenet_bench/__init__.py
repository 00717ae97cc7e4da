"""What the ImageNet benchmark prepares before it runs: models, pictures, and the whole model's answers."""
