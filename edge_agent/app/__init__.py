"""The composition root: builds the agent's parts from the configuration and runs them."""
