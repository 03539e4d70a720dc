"""What is inside a model: maps, weights, Grad-CAM."""
