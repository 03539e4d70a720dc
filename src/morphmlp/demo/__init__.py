"""The whole way on videos that the package renders itself."""
