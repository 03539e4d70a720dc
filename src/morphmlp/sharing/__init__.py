"""A checkpoint given to others: its page for people, and the commit that holds both."""
