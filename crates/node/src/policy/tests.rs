//! Policies against a plain re-computation of the published table.


