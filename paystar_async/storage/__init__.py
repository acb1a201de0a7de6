"""Where records outlive the process: one small asynchronous database, on SQLite or PostgreSQL."""
