"""Storage: one small asynchronous database interface, on SQLite or PostgreSQL."""
