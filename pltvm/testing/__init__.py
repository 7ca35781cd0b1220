"""For tests of enclaves: a plugin of pytest that shows the fault reports of a test that fails."""
