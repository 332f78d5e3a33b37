"""HTTP and WebSocket: parse, call one action, answer."""
