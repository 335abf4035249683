//! What only the memory backend does: keeping versions while a snapshot needs them.
