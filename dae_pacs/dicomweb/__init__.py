"""DICOMweb (PS3.18): messages, and the client. No web framework, no ledger."""
