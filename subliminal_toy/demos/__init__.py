"""Three lessons in percent format."""
