//! The law of the cache under real concurrency: the versions that one reader sees of a key never go back.
