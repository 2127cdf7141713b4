"""Pre-training: masks, loss, optimizer, the sharded step, checkpoints and the loop."""
