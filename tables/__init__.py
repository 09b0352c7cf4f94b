"""Tables made from the files of data sets or from your own, and checked, without torch (docs/datasets.md)."""
