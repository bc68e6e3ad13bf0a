"""Submits tasks at the times that manifests declare: each due time once, whatever happens to process and clock."""
