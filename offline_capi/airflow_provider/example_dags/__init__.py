"""DAGs that show how the provider's operators are used; the tests run them."""
