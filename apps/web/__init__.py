"""Where people ask: the web page with its API, which gradio serves, and nodes for ComfyUI."""
