"""What happened, provably: journal, hash chain, signed checkpoints, recordings, replay, export, verification."""
