"""Learning from labelled scenes: data, augmentation, losses, the training loop, evaluation."""
