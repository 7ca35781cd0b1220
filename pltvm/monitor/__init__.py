"""The secure monitor: the only part that is trusted. It knows the engine, never the host.

Start with `monitor` (calls come in), then `server` (one enclave calls another) and `space` (what an enclave
may access). Numbers and layouts are only in `abi`.
"""
