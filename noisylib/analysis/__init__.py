"""Statistics on rows and arrays; nothing here knows of models or files."""
