"""The shared-memory transport, `shm`."""
