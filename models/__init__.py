"""Torch networks and the commands that train and evaluate them. ``models.families`` lists the families."""
