"""The console: pages, metrics and DICOMweb over HTTP, in a process of its own."""
