"""What a model costs on this machine, beside others."""
