"""The networks, in torch: backbones, attention, RAN and its losses. Needs the ``train`` extra."""
