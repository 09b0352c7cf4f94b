"""Tables made from the files of data sets (docs/datasets.md): a reader for each format, and one writer."""
