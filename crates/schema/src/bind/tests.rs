//! Facts about binding.
