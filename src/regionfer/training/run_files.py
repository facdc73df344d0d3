"""Names of the checkpoints in the folder of a run; apart from the loop, for they are looked for without torch."""

LAST, BEST = "last.safetensors", "best.safetensors"
