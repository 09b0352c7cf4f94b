"""The web page: asking a model in a browser, and from programs through gradio's client."""
