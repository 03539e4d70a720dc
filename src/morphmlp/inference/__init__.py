"""The same outputs, faster: where and how a model runs."""
