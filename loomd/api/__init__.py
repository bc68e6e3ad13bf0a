"""What programs talk to: HTTP over a Unix socket."""
