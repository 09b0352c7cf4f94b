"""Getting what is published: resumable downloads, their checks, and what there is."""
