"""The web page: files that the browser gets, and that speak the HTTP API from there."""
