"""`edge-agent tune`: measures this board, and what the core ledger makes of it."""
