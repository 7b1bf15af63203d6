"""elanus: a plugin-based RPC framework that speaks the wire formats of CloudWeGo Kitex."""
