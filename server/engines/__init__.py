"""The doors to outside engines, the embedded and the distributed side of each beside each other."""
