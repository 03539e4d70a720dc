"""The model leaves PyTorch."""
