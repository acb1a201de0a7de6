"""The native engine: HTTP/1.1 on asyncio, parsed by httptools."""
