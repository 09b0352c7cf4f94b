"""The nodes as a pack of their own: what ComfyUI's registry offers."""
