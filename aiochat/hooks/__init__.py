"""The functions of the embedding application: how they are registered, asked and told."""
