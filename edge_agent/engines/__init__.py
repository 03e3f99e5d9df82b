"""Adapters: one engine a file, each behind a Protocol of hear, reason or speak."""
