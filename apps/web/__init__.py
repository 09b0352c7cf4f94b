"""The web page and its API, served by gradio."""
