"""One endpoint and one page: a checkpoint answers over HTTP."""
