"""The report's formats: one file a renderer, all fed the same finished `ReportData`."""
