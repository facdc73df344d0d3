"""Training, fine-tuning and export. Needs the ``train`` extra."""
