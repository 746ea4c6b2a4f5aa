"""Labels, samples, networks: from features to a trained model and back to classes."""
