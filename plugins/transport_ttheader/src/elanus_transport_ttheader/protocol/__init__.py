"""The wire protocols, pure: bytes in, messages out; messages in, bytes out. No I/O, no clock, no logging."""
