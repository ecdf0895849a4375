"""What becomes of runs, told to a tracking server while a sweep runs: MLflow or Weights & Biases."""
