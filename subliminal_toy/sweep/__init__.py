"""Fields varied, and published set-ups run again: values here beside the published ones."""
